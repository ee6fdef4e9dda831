"""The table of hostile HTTP: the bytes of each case and the answers that the rules of the design give.

Every case ends with a request that asks for the connection's end. Where the rules call for a refusal this request is
never answered: it stands for one that an attacker smuggles, and exactly one answer must come.
"""
import dataclasses
import gzip
import json

KIB, MIB = 1 << 10, 1 << 20


@dataclasses.dataclass
class Case:
    group: str
    name: str
    raw: bytes
    statuses: list          # of all answers, in order; the connection then ends
    code: str = ""          # of the first answer's error, where the design names one


class Table:
    def __init__(self, target):
        self.target = target
        self.cases = []
        self.group = ""
        self.last = target.head("GET /livez HTTP/1.1", "Connection: close")

    # What `raw` gets is one refusal and the end.
    def refused(self, name, raw, status=400, code=""):
        self.cases.append(Case(self.group, name, raw + self.last, [status], code))

    # What `raw` gets is `statuses`, and the connection goes on.
    def answered(self, name, raw, *statuses):
        self.cases.append(Case(self.group, name, raw + self.last, [*statuses, 200]))

    def line(self, text, *fields, **options):
        return self.target.head(text, *fields, **options)

    def get(self, *fields, path="/livez", **options):
        return self.line(f"GET {path} HTTP/1.1", *fields, **options)

    def post(self, *fields, path="/v1/chat/completions", body=b"", key=None):
        return self.line(f"POST {path} HTTP/1.1", *fields, key=key) + body


def all_cases(target):
    table = Table(target)
    for name, write in GROUPS.items():
        table.group = name
        write(table)
    return table.cases


def header_syntax(t):
    t.answered("a plain request", t.get(), 200)
    t.answered("an empty line before a request is forgiven", b"\r\n" + t.get(), 200)
    t.refused("two empty lines before a request", b"\r\n\r\n" + t.get())
    start = f"GET /livez HTTP/1.1\r\nHost: {t.target.authority}\r\n".encode()
    for name, field in {
            "bare CR": b"X: a\rb", "bare LF": b"X: a\nY: b", "CR CR LF": b"X: a\r", "LF CR": b"X: a\n\r", "obs-fold by space": b"X: a\r\n b",
            "obs-fold by tab": b"X: a\r\n\tb", "NUL in a value": b"X: a\0b", "NUL in a name": b"X\0: a", "DEL in a value": b"X: a\x7f",
            "escape in a value": b"X: \x1b[31m", "vertical tab in a value": b"X: a\x0bb", "space before the colon": b"X : a",
            "tab before the colon": b"X\t: a", "empty name": b": a", "no colon": b"X", "a name with a space": b"X Y: a",
            "a name in parentheses": b"(X): a", "a name beyond ASCII": b"X\xe9: a", "a name in quotes": b'"X": a',
            "a line of spaces": b"   ", "a leading space in the first field": b" X: a"}.items():
        t.refused(name, start + field + b"\r\n\r\n")
    t.refused("lines end in LF alone", start.replace(b"\r\n", b"\n") + b"\n")
    t.answered("99 fields beside Host", t.get(*[f"X-{i}: a" for i in range(99)]), 200)
    t.refused("101 fields", t.get(*[f"X-{i}: a" for i in range(100)]), 431)
    t.refused("5,000 empty fields", t.get(*["a:"] * 5000), 431)
    room = 16 * KIB - len(t.get("X: "))
    t.answered("a header of 16 KiB", t.get("X: " + "a" * room), 200)
    for name, size in {"16 KiB and a byte": room + 1, "a field of 64 KiB": 64 * KIB, "a field of 64 KiB and a byte": 64 * KIB + 1,
                       "a field of 1 MiB": MIB}.items():
        t.refused(name, t.get("X: " + "a" * size), 431)
    t.refused("a name of 20 KiB", t.get("X" * 20 * KIB + ": a"), 431)
    t.refused("a header that never ends", start + b"X: a\r\n" * 10000, 431)


def request_line(t):
    host = f"\r\nHost: {t.target.authority}\r\n\r\n".encode()
    for name, line in {
            "absolute form": f"GET https://{t.target.authority}/livez HTTP/1.1", "absolute form of another host": "GET http://evil.example/ HTTP/1.1",
            "asterisk": "OPTIONS * HTTP/1.1", "CONNECT": f"CONNECT {t.target.authority} HTTP/1.1", "no slash": "GET livez HTTP/1.1",
            "two spaces": "GET  /livez HTTP/1.1", "a space at the end": "GET /livez HTTP/1.1 ", "a tab": "GET\t/livez HTTP/1.1",
            "a leading space": " GET /livez HTTP/1.1", "a space in the target": "GET /li vez HTTP/1.1", "HTTP in small letters": "GET /livez http/1.1",
            "version 1.11": "GET /livez HTTP/1.11", "version 11": "GET /livez HTTP/11", "no method": "/livez HTTP/1.1", "a broken method": "G(T /livez HTTP/1.1",
            "HTTP/0.9": "GET /livez", "an empty line of spaces": "   ", "a query alone": "GET ?x HTTP/1.1"}.items():
        t.refused(name, line.encode() + host)
    for version in ("0.9", "1.2", "2.0", "3.0", "9.9"):
        t.refused(f"version {version}", f"GET /livez HTTP/{version}".encode() + host, 505)
    t.refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    t.refused("an upgrade to h2c goes on in HTTP/1.1 and closes when asked", t.get("Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"), 200)
    t.refused("HTTP/1.0 ends after one answer", b"GET /livez HTTP/1.0" + host, 200)
    t.refused("HTTP/1.0 with keep-alive ends, too", t.line("GET /livez HTTP/1.0", "Connection: keep-alive"), 200)


def targets(t):
    for path in ("/%00", "/livez%00", "/%2f", "/v1%2Fmodels", "/v1/models%2f..", "/%5c", "/%5C..%5c", "/%zz", "/%", "/%2", "/%u002f", "/.", "/..",
                 "/v1/../metrics", "/v1/./models", "/%2e%2e/x", "/v1/%2E", "/a\\b", "/#x", "/%0d%0ax", "/%1b", "/%7f", "/%c0%af", "/%ff", "/%ed%a0%80",
                 "/\xe9", "/\x80", "/?x=%zz", "/?x=%00", "/?%", "/?x=\xff", "//../x", "/v1//..//metrics"):
        t.refused(ascii(path), t.get(path=path))
    t.refused("a target of 7,999 characters is looked up", t.get("Connection: close", path="/" + "a" * 7999), 404)
    for size in (8001, 12000):
        t.refused(f"a target of {size} characters", t.get(path="/" + "a" * (size - 1)), 414)
    # Another spelling opens no door: below /v1, /api and /metrics without a key 401, elsewhere nothing is found.
    for path, status in {"/v1/models": 401, "/v1/models/": 401, "/v1": 401, "/v1/": 401, "/%76%31/models": 401, "/v1/m%6fdels": 401, "/v1//models": 401,
                         "/metrics": 401, "/metrics/": 401, "/metric%73": 401, "/metrics?x": 401, "/api/v1/users": 401, "/api": 401, "/api/v1/unseal/": 401,
                         "//v1/models": 404, "/V1/models": 404, "/Metrics": 404, "/METRICS": 404, "//metrics": 404, "/v1;x/models": 404, "/metrics;x": 404,
                         "/livez/": 404, "//livez": 404, "/livez;x": 404, "/LIVEZ": 404, "/metrics%20": 404, "/ v1".replace(" ", "%20"): 404}.items():
        t.answered("without a key " + path, t.get(path=path), status)
    for path, status in {"/v1/models/": 404, "/v1//models": 404, "/metrics/": 404, "/v1/MODELS": 404, "/metrics": 403}.items():
        t.answered("with a key " + path, t.get(path=path, key=t.target.key), status)


def hosts(t):
    port = t.target.port
    t.refused("none", t.get(host=False))
    t.refused("none in HTTP/1.0", t.line("GET /livez HTTP/1.0", host=False))
    t.refused("two", t.get(f"Host: {t.target.authority}"))
    t.refused("ours and a foreign one", t.get("Host: evil.example"))
    for value in ("", " ", "127.0.0.1/x", "127.0.0.1, 127.0.0.1", "user@127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:443:443",
                  "http://127.0.0.1", "127.0.0.1 x", "[::1", "::1", "[::1]x", "[127.0.0.1]", "loc%61lhost", "a" * 300, ".", "local\xe9host", "127.0.0.1#x", "127.0.0.1?x"):
        t.refused(f"malformed {value[:24]!a}", t.get(f"Host: {value}", host=False), 400, "bad_host")
    for value in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "0x7f000001", "2130706433",
                  "127.1", "[2001:db8::1]", "xlocalhost", "127.0.0.2"):
        t.refused(f"foreign {value}", t.get(f"Host: {value}", host=False), 421)
    for value in ("localhost", f"localhost:{port}", "LOCALHOST", "localhost.", "127.0.0.1"):
        t.answered(f"ours {value}", t.get(f"Host: {value}", host=False), 200)
    t.refused("X-Forwarded-Host does not help", t.get("Host: evil.example", "X-Forwarded-Host: localhost", host=False), 421)
    t.answered("X-Forwarded-Host does no harm", t.get("X-Forwarded-Host: evil.example", "Forwarded: host=evil.example"), 200)


def methods(t):
    key = t.target.key
    for method in ("TRACE", "BREW", "PROPFIND", "get", "Get", "GETT", "M-SEARCH", "DEBUG", "CONNECT"):
        t.answered(f"{method} with a key", t.line(f"{method} /v1/models HTTP/1.1", key=key), 501)
        t.answered(f"{method} without a key", t.line(f"{method} /v1/models HTTP/1.1"), 401)
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "POST"):
        t.answered(f"{method} /v1/models with a key", t.line(f"{method} /v1/models HTTP/1.1", key=key), 405)
        t.answered(f"{method} /v1/models without a key", t.line(f"{method} /v1/models HTTP/1.1"), 401)
        t.answered(f"{method} /livez", t.line(f"{method} /livez HTTP/1.1"), 405)
    for field in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        t.answered(f"{field} changes nothing", t.get(f"{field}: DELETE", path="/v1/models", key=key), 200)
        t.answered(f"{field} opens nothing", t.line("OPTIONS /v1/models HTTP/1.1", f"{field}: GET"), 401)
    for field in ("X-Original-URL", "X-Rewrite-URL"):
        t.answered(f"{field} changes nothing", t.get(f"{field}: /metrics"), 200)
        t.answered(f"{field} opens nothing", t.get(f"{field}: /livez", path="/metrics"), 401)
    t.refused("TRACE with a body", t.line("TRACE /v1/models HTTP/1.1", "Content-Length: 5", key=key) + b"hello", 501)


def transfer_encodings(t):
    chunks = b"0\r\n\r\n"
    for value in ("xchunked", "gzip", "identity", "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "chunked;q=1",
                  '"chunked"', "chunked,", ",chunked", "", "chunke", "chunkedd", "chunked x", "chunked\x0b", "chunked\xa0", "chunked\x00", "deflate", "*", "cow"):
        t.refused(ascii(value), t.post(f"Transfer-Encoding: {value}", key=t.target.key) + chunks)
        t.refused(f"{value!a} and a length", t.post(f"Transfer-Encoding: {value}", "Content-Length: 5", key=t.target.key) + chunks)
    for fields in (("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("chunked", "")):
        t.refused("two fields " + "/".join(fields), t.post(*[f"Transfer-Encoding: {v}" for v in fields], key=t.target.key) + chunks)
    t.refused("chunked and a length", t.post("Transfer-Encoding: chunked", "Content-Length: 5", key=t.target.key) + chunks)
    t.refused("a length and chunked", t.post("Content-Length: 5", "Transfer-Encoding: chunked", key=t.target.key) + chunks)
    t.refused("chunked and a length of 0", t.post("Transfer-Encoding: chunked", "Content-Length: 0", key=t.target.key) + chunks)
    t.refused("in HTTP/1.0", t.line("POST /v1/chat/completions HTTP/1.0", "Transfer-Encoding: chunked", key=t.target.key) + chunks)
    for field in ("Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked", "Transfer-Encoding\x0b: chunked",
                  "X: a\nTransfer-Encoding: chunked", "X: a\rTransfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: \x0bchunked"):
        t.refused(ascii(field), t.post(field, key=t.target.key) + chunks)
    for value in ("Chunked", "CHUNKED", "\tchunked", "chunked \t"):
        t.answered(f"{value!a} is chunked", t.post(f"Transfer-Encoding: {value}", key=t.target.key) + chunks, 400)
    t.answered("Transfer_Encoding is another field", t.get("Transfer_Encoding: chunked"), 200)


def chunks(t):
    head = t.post("Transfer-Encoding: chunked", key=t.target.key)
    for body in (b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"+5\r\nhello\r\n",
                 b" 5\r\nhello\r\n", b"g\r\nhello\r\n", b"\r\nhello\r\n", b"5\r\nhello\n0\r\n\r\n", b"5;\nhello\r\n", b"100000000000000005\r\nhello\r\n",
                 b"5\r\rhello\r\n", b"5 5\r\nhello\r\n", b"5_0\r\nhello\r\n", b"5.0\r\nhello\r\n", b"\x00\r\n", b"5\x00\r\nhello\r\n", b"5\r\nhel\r\n0\r\n\r\n"):
        t.refused(ascii(body[:24]), head + body)
    for size in (b"ffffffffffffffff", b"7fffffffffffffff", b"8000000000000000", b"fffffffffffffff0", b"100000000", b"400001"):
        t.refused(f"a chunk of {size.decode()} bytes", head + size + b"\r\nx", 413)
    t.answered("a valid extension is ignored", head + b'1;name=value;other="a b"\r\n{\r\n0;last\r\n\r\n', 400)
    t.refused("an extension of 64 KiB", head + b"1;" + b"a" * 64 * KIB + b"\r\n{\r\n0\r\n\r\n")
    t.refused("5,000 chunks with extensions of 1 KiB", head + (b"1;" + b"a" * KIB + b"\r\n \r\n") * 5000 + b"0\r\n\r\n")
    t.refused("leading zeros for 64 KiB", head + b"0" * 64 * KIB + b"1\r\n{\r\n0\r\n\r\n")
    for name, trailer in {"Authorization": "Authorization: Bearer x", "Host": "Host: evil.example", "X-Forwarded-For": "X-Forwarded-For: 10.0.0.1"}.items():
        t.answered(f"the trailer {name} is forgotten", head + f"1\r\n{{\r\n0\r\n{trailer}\r\n\r\n".encode(), 400)
    for name, trailer in {"Content-Length": b"Content-Length: 5", "Transfer-Encoding": b"Transfer-Encoding: chunked", "a broken name": b"X : a", "a fold": b"X: a\r\n b", "64 KiB in one field": b"X: " + b"a" * 64 * KIB,
                          "10,000 fields": b"\r\n".join([b"X: a"] * 10000), "no colon": b"x"}.items():
        t.refused(f"trailers: {name}", head + b"1\r\n{\r\n0\r\n" + trailer + b"\r\n\r\n")
    key = t.target.key
    t.refused("a credential in the trailers comes too late", t.post("Transfer-Encoding: chunked") + f"1\r\n{{\r\n0\r\nAuthorization: Bearer {key}\r\n\r\n".encode(), 401)


def content_lengths(t):
    for value in ("5, 5", "5,6", "+5", "-5", "-1", "0x5", "5 5", "", "5.0", "1e1", "99999999999999999999", "18446744073709551616", '"5"', "5;x", "\x0b5", "05x",
                  "5\x00", "\xb2", "null"):
        t.refused(ascii(value), t.post(f"Content-Length: {value}", key=t.target.key) + b"hello")
    t.refused("twice the same", t.post("Content-Length: 5", "Content-Length: 5", key=t.target.key) + b"hello")
    t.refused("two that differ", t.post("Content-Length: 5", "Content-Length: 6", key=t.target.key) + b"hello")
    for value in ("18446744073709551615", "9223372036854775808", "4294967296", str(16 * MIB + 1), str(4 * MIB + 1)):
        t.refused(f"{value} is too large", t.post(f"Content-Length: {value}", key=t.target.key), 413)
    t.refused("a body for GET /livez", t.get("Content-Length: 5") + b"hello", 413)
    t.refused("a body for GET /v1/models", t.get("Content-Length: 5", path="/v1/models", key=t.target.key) + b"hello", 413)
    t.answered("shorter than what follows", t.post("Content-Length: 1", key=t.target.key) + b"{", 400)
    t.answered("leading zeros are decimal", t.post("Content-Length: 0001", key=t.target.key) + b"{", 400)
    t.answered("0", t.post("Content-Length: 0", key=t.target.key), 400)


def expectations(t):
    key = t.target.key
    t.answered("100-continue without a body", t.get("Expect: 100-continue"), 200)
    t.answered("100-continue and the body at once", t.post("Content-Length: 1", "Expect: 100-continue", key=key) + b"{", 400)
    t.refused("100-continue without a key", t.post("Content-Length: 1", "Expect: 100-continue") + b"{", 401)
    for value in ("200-ok", "100-continue, x", "x", "", "100-continue;q=1"):
        t.refused(f"{value!r}", t.post("Content-Length: 1", f"Expect: {value}", key=key) + b"{", 417)
    t.refused("two that differ", t.post("Content-Length: 1", "Expect: 100-continue", "Expect: x", key=key) + b"{", 417)
    t.refused("without a key 401 comes first", t.post("Content-Length: 1", "Expect: x") + b"{", 401)


def credentials(t):
    key, other = t.target.key, t.target.key[:-1] + ("0" if t.target.key[-1] != "0" else "1")
    models = dict(path="/v1/models")
    good, bad = f"Authorization: Bearer {key}", f"Authorization: Bearer {other}"
    for name, fields in {
            "Bearer": [good], "bearer in small letters": [f"authorization: bearer {key}"], "x-api-key": [f"x-api-key: {key}"],
            "both the same": [good, f"X-Api-Key: {key}"], "the same twice": [good, good]}.items():
        t.answered(f"good: {name}", t.get(*fields, **models), 200)
    for name, fields in {
            "none": [], "wrong": [bad], "good and wrong": [good, bad], "wrong and good": [bad, good], "good, and wrong x-api-key": [good, f"x-api-key: {other}"],
            "wrong, and good x-api-key": [bad, f"x-api-key: {key}"], "two x-api-keys": [f"x-api-key: {other}", f"x-api-key: {key}"],
            "Basic": [f"Authorization: Basic {key}"], "no scheme": [f"Authorization: {key}"], "Bearer twice": [f"Authorization: Bearer Bearer {key}"],
            "a list": [f"Authorization: Bearer {key}, Bearer {other}"], "in quotes": [f'Authorization: Bearer "{key}"'], "Bearer alone": ["Authorization: Bearer"],
            "two spaces": [f"Authorization: Bearer  {key}"], "a tail": [good + "x"], "empty beside a good x-api-key": ["Authorization:", f"x-api-key: {key}"],
            "Basic beside a good x-api-key": ["Authorization: Basic eA==", f"x-api-key: {key}"], "a cookie": [f"Cookie: key={key}"],
            "other names": [f"Api-Key: {key}", f"X-Auth-Token: {key}", f"Proxy-Authorization: Bearer {key}", f"X_Api_Key: {key}"]}.items():
        t.answered(f"bad: {name}", t.get(*fields, **models), 401)
    for query in ("api_key", "key", "access_token", "x-api-key", "authorization"):
        t.answered(f"bad: in the query as {query}", t.get(path=f"/v1/models?{query}={key}"), 401)
    t.refused("a body is not read", t.post("Content-Length: 4000000"), 401)


def bodies(t):
    key = t.target.key

    def post(name, body, status, *fields, **options):
        raw = t.post(f"Content-Length: {len(body)}", *fields, key=key, **options) + body
        (t.answered if status in (400, 422) else t.refused)(name, raw, status)

    chat = json.dumps({"model": "ostal-mini", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]})
    for name, body in {"brackets": b"[" * MIB, "braces": b'{"a":' * 200000, "deep and closed": b"[" * 100 + b"]" * 100, "in a valid request": chat[:-1].encode() + b',"user":' + b"[" * 65 + b"]" * 65 + b"}"}.items():
        post(f"nested: {name}", body, 400)
    # Keys that share a prefix, as an attack on a hash table would: refused for what they are, and fast.
    post("100,000 unknown keys", b"{" + b",".join(b'"k%d":0' % i for i in range(100000)) + b"}", 422)
    post("100,000 equal keys", b"{" + b",".join([b'"k":0'] * 100000) + b"}", 400)
    post("a number of 1 MB", b'{"model":"ostal-mini","messages":[{"role":"user","content":"x"}],"seed":' + b"1" * 1000000 + b"}", 400)
    post("1 MB of escapes", b'{"model":"' + b"\\u0041" * 170000 + b'"}', 422)
    post("zeros", bytes(MIB), 400)
    post("the limit of 4 MiB", b" " * 4 * MIB, 400)
    post("4 MiB and a byte", b" " * (4 * MIB + 1), 413)
    post("16 MiB and a byte", b" " * (16 * MIB + 1), 413)
    t.refused("4 MiB and a byte in chunks", t.post("Transfer-Encoding: chunked", key=key) + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 65, 413)
    t.refused("unseal: 16 KiB and a byte", t.post("Content-Length: 16385", path="/api/v1/unseal") + b" " * 16385, 413)
    packed = gzip.compress(b" " * 16 * MIB)
    for value in ("gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "gzip, gzip"):
        t.refused(f"Content-Encoding: {value}", t.post(f"Content-Length: {len(packed)}", f"Content-Encoding: {value}", key=key) + packed, 415)


def pipelines(t):
    key = t.target.key
    t.answered("100 requests are answered in order", t.get() * 99 + t.get(path="/nothing"), *[200] * 99, 404)
    t.answered("refusals without a body keep the connection", t.get(path="/v1/models") * 10 + t.get(), *[401] * 10, 200)
    t.answered("a body ends where it says", (t.post("Content-Length: 1", key=key) + b"{") * 10, *[400] * 10)
    t.refused("the first fault is the last answer", t.get(host=False) + t.get() * 5)
    t.cases.append(Case(t.group, "answers before a fault are given", t.get() * 3 + t.get(host=False) + t.last, [200] * 3 + [400]))
    t.cases.append(Case(t.group, "nothing after Connection: close", t.get("Connection: close") + t.last, [200]))
    t.answered("HEAD without a key", t.line("HEAD /v1/models HTTP/1.1"), 401)


GROUPS = {"header syntax": header_syntax, "request lines": request_line, "targets": targets, "hosts": hosts, "methods": methods,
          "transfer codings": transfer_encodings, "chunks and trailers": chunks, "lengths": content_lengths, "expectations": expectations,
          "credentials": credentials, "bodies": bodies, "pipelines": pipelines}
