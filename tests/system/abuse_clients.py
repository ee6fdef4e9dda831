"""Clients that are slow, that vanish, or that are many."""
import contextlib
import json
import socket
import ssl
import struct
import threading
import time

from abuse_wire import PATIENCE, Mismatch, check_error, parse_answers, read_answer, read_to_end, send

RESET = struct.pack("ii", 1, 0)
PER_ADDRESS = 64        # the caps and limits of the product, as the configuration's defaults have them
TOTAL = 1024
HANDSHAKE_S = HEADER_S = BODY_GRACE_S = 10
WRITE_S, IDLE_S, SHUTDOWN_S = 30, 60, 2


def reset(connection):
    """Ends a connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    socket.socket.close(connection)


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Mismatch(f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def long_request(target, **fields):
    """A chat request whose answer takes a while: 900 tokens at least."""
    body = json.dumps({"model": "ostal-mini", "min_tokens": 900, "max_tokens": 950, "messages": [{"role": "user", "content": "x"}], **fields}).encode()
    return target.head("POST /v1/chat/completions HTTP/1.1", f"Content-Length: {len(body)}", key=target.key) + body


def is_quiet(metrics):
    """No sequence runs, waits or is paused."""
    return all(value == 0 for name, value in metrics.items() if name.startswith(("ostal_sequences_", "ostal_queue_depth")))


# ---- slow ----


class SlowClients:
    """Starts every slow client at once, each on a thread; collect() waits for all of them."""

    def __init__(self, target, full):
        self.target = target
        self.before = target.metrics()
        self.results = {}
        self.threads = []
        self.expected = {}   # wait -> how many clients must have met that limit
        chat, key = "POST /v1/chat/completions HTTP/1.1", target.key
        body = target.head(chat, "Content-Length: 1000", key=key)
        self.start("silent after connecting", "handshake", HANDSHAKE_S, self.raw_client())
        self.start("half a TLS record", "handshake", HANDSHAKE_S, self.raw_client(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"))
        self.start("a hello by one byte each second", "handshake", HANDSHAKE_S, self.raw_client(b"\x16\x03\x01\x02\x00", drip=b"\x01"))
        self.start("a header that stops", "header", HEADER_S, self.client(b"GET /livez HTTP/1.1\r\nHost: l", 408))
        self.start("a first byte alone", "header", HEADER_S, self.client(b"G", 408))
        self.start("a header by one field each second", "header", HEADER_S, self.client(b"GET /livez HTTP/1.1\r\n", 408, drip=b"a: b\r\n"))
        self.start("a body that stops", "body", BODY_GRACE_S, self.client(body + b"{", 408))
        self.start("a body that does not begin", "body", BODY_GRACE_S, self.client(body, 408))
        self.start("a body of one byte each second", "body", BODY_GRACE_S, self.client(body, 408, drip=b" "))
        self.start("a chunked body by one byte a second", "body", BODY_GRACE_S,
                   self.client(target.head(chat, "Transfer-Encoding: chunked", key=key), 408, drip=b"1\r\n \r\n"))
        self.start("a refused body that never ends", "shutdown", SHUTDOWN_S, self.stubborn_client(target.head(chat, "Content-Length: 4000000")))
        if full:
            self.start("silent after the handshake", "idle", IDLE_S, self.client(b"", None))
            self.start("silent after an answer", "idle", IDLE_S, self.client(target.head("GET /livez HTTP/1.1"), 200))
            self.start("one empty line, then silent", "idle", IDLE_S, self.client(b"\r\n", None))
            self.start("stops reading a stream", "write", WRITE_S, self.deaf_client(long_request(target, stream=True, logprobs=True, top_logprobs=20) * 4))
            self.start("stops reading whole answers", "write", WRITE_S, self.deaf_client(target.head("GET /metrics HTTP/1.1", key=target.metrics_key) * 1500))

    def start(self, name, wait, seconds, run):
        def timed():
            began = time.monotonic()
            try:
                run()
                took = time.monotonic() - began
                # The server's clock started after ours: an earlier end was another cause.
                self.results[name] = "" if took >= seconds else f"ended after {took:.1f} s, before the limit of {seconds} s"
            except (Mismatch, OSError) as error:
                self.results[name] = str(error) or type(error).__name__
        self.expected[wait] = self.expected.get(wait, 0) + 1
        self.threads.append(threading.Thread(target=timed, name=name))
        self.threads[-1].start()

    def drip_until_end(self, connection, drip):
        """What the server says until it ends the connection, which gets `drip` each second until then."""
        said = b""
        connection.settimeout(1)
        end = time.monotonic() + PATIENCE + IDLE_S
        while time.monotonic() < end:
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    connection.sendall(drip)
                continue
            except OSError:
                return said
            if not piece:
                return said
            said += piece
        raise Mismatch("the connection does not end")

    def raw_client(self, first=b"", drip=b""):
        def run():
            with self.target.tcp() as connection:
                send(connection, first)
                self.drip_until_end(connection, drip)
        return run

    def client(self, first, status, drip=b""):
        def run():
            with self.target.tls() as connection:
                send(connection, first)
                statuses = [answer.status for answer in parse_answers(self.drip_until_end(connection, drip))]
                if statuses != ([status] if status else []):
                    raise Mismatch(f"answered {statuses}")
        return run

    def stubborn_client(self, first):
        """Takes no goodbye: it sends on until it is cut."""
        def run():
            with self.target.tls() as connection:
                send(connection, first)
                statuses = [answer.status for answer in parse_answers(read_to_end(connection))]
                if statuses != [401]:
                    raise Mismatch(f"answered {statuses}")
                end = time.monotonic() + PATIENCE
                with contextlib.suppress(OSError):
                    while time.monotonic() < end:
                        connection.sendall(b" " * 100)
                        time.sleep(0.1)
                    raise Mismatch("it is not cut")
        return run

    def deaf_client(self, requests):
        """Asks for more than the kernels' buffers hold and reads none of it. Stays until the server has cut all such
        clients: this side may never hear of it, as its window is shut for the reset, too."""
        def run():
            limit = 'ostal_http_timeouts_total{wait="write"}'
            with self.target.tls(receive_buffer=4096) as connection:
                send(connection, requests[:30000])
                wait_until(lambda: self.target.metrics()[limit] >= self.before[limit] + self.expected["write"], "it is cut")
        return run

    def collect(self):
        for thread in self.threads:
            thread.join()
        after = self.target.metrics()
        for wait, count in self.expected.items():
            name = f'ostal_http_timeouts_total{{wait="{wait}"}}'
            fired = after[name] - self.before[name]
            self.results[f"/metrics counts the {wait} limit"] = "" if fired >= count else f"fired {fired:.0f} times, not {count}"
        if "write" in self.expected:
            wait_until(lambda: is_quiet(self.target.metrics()), "the streams that nobody read are cancelled")
            cancelled = 'ostal_inference_total{end="cancelled"}'
            gone = self.target.metrics()[cancelled] > self.before[cancelled]
            self.results["a stream that nobody reads is cancelled"] = "" if gone else "no sequence was cancelled"
        return self.results


# ---- vanishing ----


def vanishing_clients(target, count):
    cancelled = 'ostal_inference_total{end="cancelled"}'

    def sequence_of(leave, **fields):
        """`count` clients that ask for a long answer and leave in its midst, one after the other."""
        def run():
            before = target.metrics()[cancelled]
            for _ in range(count):
                connection = target.tls()
                send(connection, long_request(target, **fields))
                if fields.get("stream"):
                    connection.recv(1)
                else:
                    wait_until(lambda: not is_quiet(target.metrics()), "the request runs")
                leave(connection)
                wait_until(lambda: is_quiet(target.metrics()), "the sequence ends")
            gone = target.metrics()[cancelled] - before
            if gone != count:
                raise Mismatch(f"{gone:.0f} of {count} sequences were cancelled")
        return run

    def half_close(connection):
        connection.setblocking(False)
        with contextlib.suppress(ssl.SSLError, OSError):
            connection.unwrap()  # sends close_notify
        wait_until(lambda: is_quiet(target.metrics()), "a half-close cancels")
        reset(connection)

    def shut_down(connection):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        wait_until(lambda: is_quiet(target.metrics()), "a FIN cancels")
        reset(connection)

    for name, leave in {"RST": reset, "close_notify": half_close, "FIN": shut_down}.items():
        yield f"{name} in a stream", sequence_of(leave, stream=True)
        yield f"{name} while the answer is due", sequence_of(leave)

    def at_once(raw, leave):
        def run():
            for _ in range(count * 10):
                connection = target.tls()
                send(connection, raw)
                leave(connection)
        return run

    head = target.head("POST /v1/chat/completions HTTP/1.1", "Content-Length: 1000", key=target.key)
    for name, raw in {"the handshake": b"", "half a header": head[:40], "half a body": head + b"{" * 500, "a request": target.head("GET /v1/models HTTP/1.1", key=target.key)}.items():
        yield f"RST after {name}", at_once(raw, reset)

    def resets_before_tls():
        for i in range(count * 10):
            connection = target.tcp()
            send(connection, b"\x16\x03\x01" * (i % 3))
            reset(connection)
    yield "RST before TLS", resets_before_tls


# ---- many ----


def crowd(target, daemon, full):
    gauge, refused = "ostal_http_connections", 'ostal_http_refused_connections_total{cap="%s"}'

    def open_from(addresses, each):
        return [target.tls(source) for source in addresses for _ in range(each)]

    def close_all(connections):
        for connection in connections:
            reset(connection)
        wait_until(lambda: target.metrics()[gauge] == 1, "the connections are gone")

    def idle():
        rss = daemon.rss()
        connections = open_from([target.new_source() for _ in range(10)], 50)
        try:
            if target.metrics()[gauge] < 500:
                raise Mismatch("500 idle connections are not open")
            daemon.note(f"500 idle connections take {(daemon.rss() - rss) / 500 / 1024:.0f} KiB each")
            if target.chat("What is a violin?", max_tokens=1).status != 200:
                raise Mismatch("500 idle connections keep another client from its answer")
            send(connections[77], target.head("GET /livez HTTP/1.1", "Connection: close"))
            if parse_answers(read_to_end(connections[77]))[0].status != 200:
                raise Mismatch("an idle connection was not answered")
        finally:
            close_all(connections)

    def refusal(source):
        try:
            connection = target.tls(source)
        except (ssl.SSLError, OSError):
            return True
        connection.close()
        return False

    def one_address():
        source = target.new_source()
        before = target.metrics()[refused % "address"]
        connections = open_from([source], PER_ADDRESS)
        try:
            if not refusal(source) or target.metrics()[refused % "address"] != before + 1:
                raise Mismatch(f"connection {PER_ADDRESS + 1} of one address was not refused")
            if target.get("/livez").status != 200:
                raise Mismatch("another address is refused, too")
            reset(connections.pop())
            wait_until(lambda: not refusal(source), "a place that was left is free again")
        finally:
            close_all(connections)

    def all_addresses():
        before = target.metrics()
        connections = open_from([target.new_source() for _ in range(TOTAL // PER_ADDRESS)], PER_ADDRESS - 1)
        try:
            with target.tls() as watching:
                with contextlib.suppress(ssl.SSLError, OSError):
                    while len(connections) <= TOTAL:
                        connections.append(target.tls())
                send(watching, target.head("GET /metrics HTTP/1.1", "Connection: close", key=target.metrics_key))
                page = parse_answers(read_to_end(watching))[0].body.decode()
            if f"{gauge} {TOTAL}\n" not in page:
                raise Mismatch(f"not {TOTAL} connections are open: {[line for line in page.splitlines() if line.startswith(gauge)]}")
        finally:
            close_all(connections)
        if target.metrics()[refused % "total"] <= before[refused % "total"]:
            raise Mismatch("the total cap refused nobody")

    def comings_and_goings():
        for _ in range(5):
            close_all(open_from([target.new_source() for _ in range(4)], 25))

    yield "500 idle connections", idle
    yield f"{PER_ADDRESS} connections of one address and one more", one_address
    yield "5 times 100 connections that come and go", comings_and_goings
    if full:
        yield f"{TOTAL} connections of all and one more", all_addresses


def no_descriptors(target, daemon):
    def run():
        errors = "ostal_http_accept_errors_total"
        with target.tls() as watching:
            before = target.metrics(watching)
            # The audit log must not be the one who needs a descriptor now: that would latch it, as it should.
            wait_until(lambda: (now := target.metrics(watching))["ostal_audit_records_total"] == now["ostal_audit_checkpoint_records"], "a checkpoint")
            with daemon.descriptor_limit(0):
                waiting = [target.tcp() for _ in range(20)]
                wait_until(lambda: target.metrics(watching)[errors] >= before[errors] + 3, "accepting fails, again and again")
        for connection in waiting:
            reset(connection)
        answer = target.chat("What is a violin?", max_tokens=1)
        if answer.status != 200:
            raise Mismatch(f"afterwards a chat gets {answer.status}: {answer.body[:200]!r}")
    yield "no descriptor left, and some again", run


# ---- keys and doors ----


def closed_doors(target, routes):
    """Every route without a credential: 401 before method and body are looked at."""
    junk = "ost_live_" + "a" * 59
    for method, pattern, needs in routes:
        if needs == "public":
            continue
        path = pattern.replace("{", "").replace("}", "").replace("*", "")
        for label, fields in {"no key": [], "a wrong key": [f"Authorization: Bearer {junk}"], "a wrong x-api-key": [f"x-api-key: {junk}"]}.items():
            def run(path=path, fields=fields, method=method):
                for verb in dict.fromkeys([method, "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]):
                    raw = target.head(f"{verb} {path} HTTP/1.1", *fields, "Content-Length: 3000000")
                    answers = target.ask(raw)  # the body does not come: who waits for it times out
                    if [a.status for a in answers] != [401]:
                        raise Mismatch(f"{verb}: answered {[a.status for a in answers]}")
                    check_error(answers[0])
            yield f"{method} {pattern}, {label}", run


def wrong_keys(target, daemon, count):
    def variants():
        key = target.key
        yield "unknown key", key[:9] + "0" * 53 + key[62:]
        yield "wrong secret", key[:19] + ("a" if key[19] != "a" else "b") + key[20:]
        yield "wrong checksum", key[:-1] + ("0" if key[-1] != "0" else "1")
        yield "no key at all", "x"
        yield "a key of 10 KB", "ost_live_" + "a" * 10000

    bodies, medians = set(), {}

    def flood(name, key):
        def run():
            times = []
            with target.tls() as connection:
                for _ in range(count):
                    began = time.perf_counter()
                    send(connection, target.head("GET /v1/models HTTP/1.1", key=key))
                    answer = read_answer(connection)
                    times.append(time.perf_counter() - began)
                    if answer.status != 401:
                        raise Mismatch(f"answered {answer.status}")
                    bodies.add(answer.body)
            medians[name] = sorted(times)[count // 2]
        return run

    for name, key in variants():
        yield f"{count} times: {name}", flood(name, key)

    def equal():
        if len(bodies) != 1:
            raise Mismatch(f"wrong keys get {len(bodies)} different bodies")
        daemon.note("medians of 401: " + ", ".join(f"{name} {1e6 * value:.0f} us" for name, value in medians.items()))
    yield "all bodies are equal", equal
