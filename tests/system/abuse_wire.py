"""A client that sends any bytes: TCP from any loopback address, TLS, records made by hand, HTTP answers parsed strictly."""
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import re
import socket
import ssl
import struct
import tempfile

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PATIENCE = 60  # how long the server may take for anything before it counts as hanging
LEAK = re.compile(rb"(/home/|/usr/|/tmp/|\.cpp|\.h:\d|0x[0-9a-f]{6,}|terminate called|std::)")


class Mismatch(Exception):
    """The server did something else than expected."""


class Target:
    """Where the daemon listens and what opens it."""

    def __init__(self, host, port, ca, key, metrics_key):
        self.host, self.port, self.ca, self.key, self.metrics_key = host, port, str(ca), key, metrics_key
        self.authority = f"{host}:{port}"
        # Clients come from many loopback addresses, as the cap of connections is one of addresses.
        self._sources = (f"127.{a}.{b}.{c}" for a in itertools.count(1) for b in range(256) for c in range(1, 255))

    def new_source(self):
        return next(self._sources)

    def tcp(self, source=None, receive_buffer=None, timeout=PATIENCE):
        sock = socket.socket()
        sock.settimeout(timeout)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((source or self.new_source(), 0))
        sock.connect((self.host, self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def context(self, verify=True):
        context = ssl.create_default_context(cafile=self.ca)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        return context

    def tls(self, source=None, **tcp_options):
        context = self._shared_context = getattr(self, "_shared_context", None) or self.context()
        return context.wrap_socket(self.tcp(source, **tcp_options), server_hostname=self.host)

    def head(self, line, *fields, host=True, key=None):
        """A request's header as bytes; `fields` are "Name: value"."""
        lines = [line] + ([f"Host: {self.authority}"] if host else []) + list(fields)
        if key:
            lines.append(f"Authorization: Bearer {key}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def ask(self, raw, source=None):
        """All answers to `raw` on a connection of its own, which the server must end."""
        with self.tls(source) as connection:
            send(connection, raw)
            return parse_answers(read_to_end(connection), first_is_bare=raw.startswith(b"HEAD "))

    def get(self, path, key=None, source=None):
        answers = self.ask(self.head(f"GET {path} HTTP/1.1", "Connection: close", key=key), source)
        return answers[0]

    def chat(self, prompt, source=None, **fields):
        body = json.dumps({"model": "ostal-mini", "temperature": 0, "messages": [{"role": "user", "content": prompt}], **fields}).encode()
        head = self.head("POST /v1/chat/completions HTTP/1.1", f"Content-Length: {len(body)}", "Connection: close", key=self.key)
        return self.ask(head + body, source)[0]

    def metrics(self, connection=None):
        """The figures by name; over `connection`, which stays open, where one is given."""
        if connection is None:
            answer = self.get("/metrics", self.metrics_key)
        else:
            send(connection, self.head("GET /metrics HTTP/1.1", key=self.metrics_key))
            answer = read_answer(connection)
        if answer.status != 200:
            raise Mismatch(f"/metrics answers {answer.status}")
        out = {}
        for line in answer.body.decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                out[name] = float(value)
        return out


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def json(self):
        return json.loads(self.body)


def send(connection, raw):
    """Sends what the server takes; one that has already answered and closed is no error here."""
    with contextlib.suppress(OSError):
        connection.sendall(raw)


def read_to_end(connection):
    """What comes up to the end of the connection, however it ends."""
    out = b""
    while True:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            raise Mismatch(f"the connection does not end; so far {out[:300]!r}") from None
        except OSError:
            return out
        if not piece:
            return out
        out += piece


def read_answer(connection):
    """One whole answer with a length, from a connection that stays open."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += receive(connection)
    head, _, body = raw.partition(b"\r\n\r\n")
    size = int(re.search(rb"\r\ncontent-length: (\d+)", head)[1])
    while len(body) < size:
        body += receive(connection)
    return parse_answers(head + b"\r\n\r\n" + body)[0]


def receive(connection):
    try:
        piece = connection.recv(65536)
    except OSError as error:
        raise Mismatch(f"no answer: {error}") from None
    if not piece:
        raise Mismatch("the connection ended before the answer did")
    return piece


def parse_answers(raw, first_is_bare=False):
    """Every answer in `raw`, parsed strictly; anything beside whole answers is a Mismatch. The first one has no body
    when it answers HEAD."""
    answers = []
    while raw:
        head, gap, rest = raw.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", line)
        if not gap or not found:
            raise Mismatch(f"this is no answer: {raw[:200]!r}")
        fields = {}
        for text in lines:
            name, colon, value = text.partition(b": ")
            if not colon or not re.fullmatch(rb"[a-z0-9-]+", name) or not re.fullmatch(rb"[\t -~]*", value):
                raise Mismatch(f"a broken field in an answer: {text!r}")
            fields[name.decode()] = value.decode()
        status = int(found[1])
        if status == 100 or (first_is_bare and not answers):
            answers.append(Answer(status, fields, b""))
            raw = rest
            continue
        if fields.get("transfer-encoding") == "chunked":
            body, rest = take_chunks(rest)
        else:
            size = int(fields["content-length"])
            if len(rest) < size:
                raise Mismatch("an answer is cut short")
            body, rest = rest[:size], rest[size:]
        answers.append(Answer(status, fields, body))
        raw = rest
    return answers


def take_chunks(raw):
    body = b""
    while True:
        size, gap, raw = raw.partition(b"\r\n")
        length = int(size, 16)
        if not gap or raw[length:length + 2] != b"\r\n":
            raise Mismatch("a chunk is cut short")
        body += raw[:length]
        raw = raw[length + 2:]
        if length == 0:
            return body, raw


def check_error(answer):
    """An error's form: JSON for both dialects, nothing of the machine's inside, never cached."""
    if LEAK.search(answer.body):
        raise Mismatch(f"an error tells of the inside: {answer.body!r}")
    body = answer.json()
    if body.get("object") != "error" or body["error"]["message"] != body["message"] or not body["message"]:
        raise Mismatch(f"not the form of an error: {answer.body!r}")
    if not answer.fields.get("x-request-id", "").startswith("req_") or answer.fields.get("x-content-type-options") != "nosniff":
        raise Mismatch(f"fields are missing: {answer.fields}")


class Records:
    """A TLS 1.3 client whose records after the handshake's first flight are made by hand.

    The handshake itself is Python's; traffic keys come from its key log (RFC 8446, section 7.3; TLS_AES_256_GCM_SHA384)."""

    APPLICATION, HANDSHAKE, ALERT, CHANGE_CIPHER_SPEC = 23, 22, 21, 20

    def __init__(self, target, finish=True):
        self.socket = target.tcp()
        context = target.context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        descriptor, log = tempfile.mkstemp(prefix="ostal-keys-")
        os.close(descriptor)
        try:
            context.keylog_filename = log
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=target.host)
            while not self._step():
                self.socket.sendall(self._outgoing.read())
                self._incoming.write(self.socket.recv(65536))
            last_flight = self._outgoing.read()
            with open(log) as file:
                secrets = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in file if not line.startswith("#")}
        finally:
            os.unlink(log)
        if finish:
            self.socket.sendall(last_flight)
        self._use(secrets["CLIENT_TRAFFIC_SECRET_0" if finish else "CLIENT_HANDSHAKE_TRAFFIC_SECRET"])

    def _step(self):
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def _use(self, secret):
        self._secret, self._sequence = secret, 0
        self._key, self._iv = AESGCM(expand(secret, b"key", 32)), expand(secret, b"iv", 12)

    def update_keys(self):
        """A KeyUpdate that asks for the server's, too (RFC 8446, section 4.6.3)."""
        self.send(self.HANDSHAKE, b"\x18\0\0\1\1")
        self._use(expand(self._secret, b"traffic upd", 48))

    def seal(self, kind, content):
        """One protected record (RFC 8446, section 5.2)."""
        inner = content + bytes([kind])
        header = struct.pack(">BHH", self.APPLICATION, 0x0303, len(inner) + 16)
        nonce = (int.from_bytes(self._iv, "big") ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return header + self._key.encrypt(nonce, inner, header)

    def send(self, kind, content):
        send(self.socket, b"".join(self.seal(kind, content[i:i + 16384]) for i in range(0, max(1, len(content)), 16384)))

    def read_to_end(self):
        """The application data that the server still sends."""
        self._incoming.write(read_to_end(self.socket))
        self._incoming.write_eof()
        out = b""
        with contextlib.suppress(ssl.SSLError):  # the end, with or without a goodbye
            while piece := self._tls.read(65536):
                out += piece
        return out

    def close(self):
        self.socket.close()


def expand(secret, label, length):
    """HKDF-Expand-Label with SHA-384 and no context (RFC 8446, section 7.1); one block is enough."""
    label = b"tls13 " + label
    info = struct.pack(">HB", length, len(label)) + label + b"\0"
    return hmac.new(secret, info + b"\1", hashlib.sha384).digest()[:length]
