"""Hostile TLS: each case says what it sends and how the server must end it."""
import random
import socket
import ssl
import struct

from abuse_wire import Mismatch, Records, parse_answers, read_to_end, send

PROTOCOL_VERSION, NO_APPLICATION_PROTOCOL = 70, 120
KIB = 1 << 10


def record(kind, content, version=0x0303, length=None):
    return struct.pack(">BHH", kind, version, len(content) if length is None else length) + content


def client_hello(target, **changes):
    """The first flight of a client as bytes."""
    context = target.context()
    for name, value in changes.items():
        setattr(context, name, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=target.host)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def raw_exchange(target, raw, close_ours=False):
    """What the server says, below TLS, before it ends the connection."""
    with target.tcp() as connection:
        send(connection, raw)
        if close_ours:
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        return read_to_end(connection)


def expect_no_http(said):
    if b"HTTP/" in said:
        raise Mismatch(f"an answer in the clear: {said[:100]!r}")


def expect_alert(said, description):
    expect_no_http(said)
    if said[:1] != b"\x15" or said[5:7] != bytes([2, description]):
        raise Mismatch(f"no alert {description}: {said[:40].hex()}")


def refused_hellos(target):
    """(name, how it is run) of first flights that come to nothing."""
    hello = client_hello(target)
    rng = random.Random(7)

    def ends(raw, close_ours=False):
        return lambda: expect_no_http(raw_exchange(target, raw, close_ours))

    yield "plain HTTP", ends(target.head("GET /livez HTTP/1.1"))
    yield "plain HTTP with a key", ends(target.head("GET /v1/models HTTP/1.1", key=target.key))
    for size in (1, 3, 5, 6, 40, 500, 5000, 70000):
        yield f"{size} bytes of junk", ends(rng.randbytes(size), close_ours=True)
        yield f"a record of {size} bytes of junk", ends(record(22, rng.randbytes(min(size, 16384))), close_ours=True)
    yield "nothing, then the end", ends(b"", close_ours=True)
    yield "half a hello, then the end", ends(hello[:len(hello) // 2], close_ours=True)
    yield "an SSLv2 hello", ends(b"\x80\x2e\x01\x00\x02" + bytes(41), close_ours=True)
    yield "a record of 65,535 bytes", ends(record(22, bytes(1000), length=65535), close_ours=True)
    yield "an alert first", ends(record(21, b"\2\0"), close_ours=True)
    yield "application data first", ends(record(23, bytes(100)), close_ours=True)
    yield "a heartbeat first", ends(record(24, b"\1\x40\0"), close_ours=True)
    yield "1,000 empty records", ends(record(22, b"") * 1000, close_ours=True)
    yield "a hello that announces 16 MiB", ends(record(22, b"\1\xff\xff\xff" + bytes(1000)) + record(22, bytes(16384)) * 40, close_ours=True)
    yield "10,000 ChangeCipherSpecs after the hello", ends(hello + record(20, b"\1") * 10000)
    yield "two hellos", ends(hello + hello)
    yield "a Certificate of 60 KiB after the hello", ends(hello + record(22, b"\x0b\0\xf0\0" + bytes(12000)) * 5)
    for version in (0x0301, 0x0302, 0x0303):
        # A hello of that version without extensions (RFC 5246, section 7.4.1.2): nothing newer is offered.
        body = struct.pack(">H", version) + rng.randbytes(32) + b"\0" + b"\0\4\xc0\x2b\xc0\x2f" + b"\1\0"
        raw = record(22, b"\1" + len(body).to_bytes(3, "big") + body, version=0x0301)
        yield f"nothing newer than version {version:04x}", lambda raw=raw: expect_alert(raw_exchange(target, raw), PROTOCOL_VERSION)
    old = client_hello(target, maximum_version=ssl.TLSVersion.TLSv1_2)
    yield "TLS 1.2 with all its extensions", lambda: expect_alert(raw_exchange(target, old), PROTOCOL_VERSION)
    with_h2 = target.context()
    with_h2.set_alpn_protocols(["h2"])

    def h2_alone():
        try:
            with_h2.wrap_socket(target.tcp(), server_hostname=target.host)
        except ssl.SSLError as error:
            if "NO_APPLICATION_PROTOCOL" not in str(error).upper().replace(" ", "_"):
                raise Mismatch(f"another end than no_application_protocol: {error}") from None
        else:
            raise Mismatch("ALPN h2 alone was accepted")
    yield "ALPN h2 alone", h2_alone


def accepted_hellos(target):
    def answers(context, server_name):
        def run():
            with context.wrap_socket(target.tcp(), server_hostname=server_name) as connection:
                send(connection, target.head("GET /livez HTTP/1.1", "Connection: close"))
                statuses = [a.status for a in parse_answers(read_to_end(connection))]
            if statuses != [200]:
                raise Mismatch(f"answered {statuses}")
        return run

    unverified = target.context(verify=False)
    no_alpn = ssl.create_default_context(cafile=target.ca)
    # The name in the hello opens and closes nothing: Host decides.
    yield "no server name", answers(unverified, None)
    yield "a foreign server name", answers(unverified, "evil.example")
    yield "no ALPN", answers(no_alpn, target.host)

    def fragmented():
        hello = client_hello(target)[5:]
        with target.tcp() as connection:
            send(connection, b"".join(record(22, hello[i:i + 1]) for i in range(len(hello))))
            if connection.recv(1) != b"\x16":
                raise Mismatch("a hello in records of one byte gets no ServerHello")
    yield "a hello in records of one byte", fragmented


def broken_sessions(target):
    """What comes after a good handshake, or in place of its end."""
    get = target.head("GET /livez HTTP/1.1", "Connection: close")

    def ends(*records, finish=True):
        def run():
            session = Records(target, finish)
            try:
                for kind, content in records:
                    session.send(kind, content)
                session.send(Records.APPLICATION, get)
                if said := session.read_to_end():
                    raise Mismatch(f"answered {said[:60]!r}")
            finally:
                session.close()
        return run

    message = Records.HANDSHAKE
    yield "another ClientHello (renegotiation)", ends((message, client_hello(target)[5:]))
    yield "a HelloRequest", ends((message, b"\0\0\0\0"))
    yield "a Certificate of 120 KiB", ends((message, b"\x0b\1\xe0\0" + bytes(120 * KIB)))
    yield "a Certificate of 120 KiB in place of Finished", ends((message, b"\x0b\1\xe0\0" + bytes(120 * KIB)), finish=False)
    yield "a request in place of Finished", ends(finish=False)
    yield "a wrong Finished", ends((message, b"\x14\0\0\x30" + bytes(48)), finish=False)
    yield "EndOfEarlyData", ends((message, b"\x05\0\0\0"))
    yield "1,000 empty records", ends(*[(Records.APPLICATION, b"")] * 1000)
    yield "1,000 warnings", ends(*[(Records.ALERT, b"\1\x5a")] * 1000)
    yield "a fatal alert", ends((Records.ALERT, b"\2\x50"))
    yield "a record of an unknown kind", ends((99, b"x"))

    def broken_record(raw):
        def run():
            session = Records(target)
            try:
                send(session.socket, raw(session) + session.seal(Records.APPLICATION, get))
                if said := session.read_to_end():
                    raise Mismatch(f"answered {said[:60]!r}")
            finally:
                session.close()
        return run

    yield "a flipped bit", broken_record(lambda s: (lambda r: r[:-1] + bytes([r[-1] ^ 1]))(s.seal(Records.APPLICATION, get)))
    yield "a record twice", broken_record(lambda s: (lambda r: r + r)(s.seal(Records.APPLICATION, target.head("GET /livez HTTP/1.1")[:-2])))
    yield "a record in the clear", broken_record(lambda s: record(22, b"\0\0\0\0"))
    yield "a record that is too long", broken_record(lambda s: s.seal(Records.APPLICATION, bytes(17000)))

    def key_updates():
        session = Records(target)
        try:
            for _ in range(1000):
                session.update_keys()
            session.send(Records.APPLICATION, get)
            statuses = [a.status for a in parse_answers(session.read_to_end())]
        finally:
            session.close()
        if statuses not in ([200], []):
            raise Mismatch(f"answered {statuses}")
    yield "1,000 KeyUpdates that ask for one each", key_updates
