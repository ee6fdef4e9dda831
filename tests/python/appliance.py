"""A real daemon for tests: its own state folder, keys, models, certificates, on loopback and a free port."""
import contextlib
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("OSTAL_BIN_DIR", ROOT / "build" / "release" / "bin"))
MINI = ROOT / "models" / "ostal-mini"
START_SECONDS = 60


class CtlError(Exception):
    def __init__(self, code, text):
        super().__init__(f"exit {code}: {text}")
        self.code = code
        self.text = text


def run(*words, stdin="", check=True):
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True, timeout=300)
    if check and done.returncode != 0:
        raise CtlError(done.returncode, done.stderr.strip())
    return done


class Signer:
    """A vendor's or site's key, its anchor, and bundles signed with it."""

    def __init__(self, folder, name="site"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = self.folder / f"{name}.pem"
        self.root = self.folder / f"{name}.root.json"
        run(BIN / "ostal-bundle", "keygen", "--out", self.key)
        run(BIN / "ostal-bundle", "root", "--key", self.key, "--out", self.root)

    def bundle(self, out, name="ostal-mini", version=1, model=MINI, instruct_format="v3", extra=()):
        shutil.rmtree(out, ignore_errors=True)
        words = ["create", "--model", model, "--name", name, "--version", version, "--key", self.key, "--root", self.root, "--out", out]
        if instruct_format:
            words += ["--format", instruct_format]
        run(BIN / "ostal-bundle", *words, *extra)
        return pathlib.Path(out)


class Appliance:
    def __init__(self, folder=None, config=""):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="ostal-test-"))
        self.state = self.folder / "state"
        self.trust = self.folder / "trust"
        self.trust.mkdir(parents=True, exist_ok=True)
        self.socket = self.folder / "ctl.sock"
        self.key_file = self.folder / "unseal.key"
        if not self.key_file.exists():
            self.key_file.write_bytes(secrets.token_bytes(32))
        self.password = "correct horse " + secrets.token_hex(4)
        self.extra_config = config
        self.process = None
        self.port = None
        self.api_key = None

    # ---- process ----

    def start(self, unseal=True, expect_exit=False, env=None):
        keys = f'[keys]\nunseal_key_file = "{self.key_file}"\n' if unseal else ""
        config = self.folder / "ostal.toml"
        config.write_text(f'[instance]\nname = "test"\n[paths]\nstate = "{self.state}"\ntrust = "{self.trust}"\n'
                          f'control_socket = "{self.socket}"\n{keys}[audit]\nreserve_mib = 1\n{self.extra_config}\n')
        self.log = self.folder / "ostald.log"
        self.port = self.port or free_port()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(BIN / "ostald"), "--config", str(config), "--listen", f"127.0.0.1:{self.port}"],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        if expect_exit:
            return self.process.wait(START_SECONDS)
        self.wait(lambda: run(BIN / "ostalctl", "--socket", self.socket, "status", check=False).returncode == 0)
        return None

    def wait(self, condition, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log_text()[-3000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"nothing within {seconds} s:\n{self.log_text()[-3000:]}")
            time.sleep(0.02)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(90)
            assert code == 0, f"exit code {code}:\n{self.log_text()[-3000:]}"
        self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        try:
            self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- operator ----

    def ctl(self, *words, stdin=""):
        done = run(BIN / "ostalctl", "--socket", self.socket, "-o", "json", *words, stdin=stdin)
        return json.loads(done.stdout)

    def set_up(self):
        return self.ctl("setup", "--single", "--user", "owner", "--key-file", self.key_file, stdin=self.password + "\n")

    def trust_signer(self, signer):
        shutil.copy(signer.root, self.trust / signer.root.name)

    def install(self, medium, name="ostal-mini", version=1):
        self.ctl("model", "import", medium)
        self.ctl("model", "approve", name, version)
        self.ctl("model", "activate", name, version)
        self.ctl("model", "grant", name)

    def make_key(self, *options):
        return self.ctl("key", "create", "test", *options)["key"]

    def ready(self):
        self.wait(lambda: self.request("GET", "/readyz")[0] == 200)

    def audit_verify(self):
        """Exit code and words of the tool that needs no daemon."""
        done = run(BIN / "ostal-audit", "verify", self.state / "audit", check=False)
        return done.returncode, done.stdout + done.stderr

    def audit_records(self):
        done = run(BIN / "ostal-audit", "show", self.state / "audit")
        return [json.loads(line) for line in done.stdout.splitlines()]

    # ---- clients ----

    @property
    def ca(self):
        return self.state / "tls" / "ca.pem"

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def tls(self):
        path = self.ca if self.ca.exists() else self.state / "tls" / "leaf.pem"
        return ssl.create_default_context(cafile=str(path))

    def connection(self, timeout=120):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls(), timeout=timeout)

    def request(self, method, path, body=None, key=None, headers=None):
        """(status, parsed JSON or text, headers)"""
        connection = self.connection()
        all_headers = dict(headers or {})
        if key:
            all_headers["Authorization"] = f"Bearer {key}"
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            all_headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, all_headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text), dict(answer.getheaders())
        return answer.status, text, dict(answer.getheaders())

    def post(self, path, key=None, **fields):
        """(status, answer) of a request to an endpoint of ostal-mini."""
        return self.request("POST", path, {"model": "ostal-mini", **fields}, key or self.api_key)[:2]

    def events(self, path, **fields):
        """The parsed events of a streamed answer, without the "[DONE]" that must end it."""
        connection = self.connection()
        connection.request("POST", path, json.dumps({"model": "ostal-mini", "stream": True, **fields}),
                           {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]", text
        return [json.loads(line) for line in lines[:-1]]

    def chat(self, prompt, key=None, **fields):
        body = {"model": "ostal-mini", "messages": [{"role": "user", "content": prompt}], "temperature": 0, **fields}
        return self.request("POST", "/v1/chat/completions", body, key or self.api_key)

    def stream(self, prompt, key=None, **fields):
        """Yields the parsed events of a streamed answer; "[DONE]" at the end."""
        connection = self.connection()
        body = {"model": "ostal-mini", "stream": True, "messages": [{"role": "user", "content": prompt}], "temperature": 0, **fields}
        connection.request("POST", "/v1/chat/completions", json.dumps(body),
                           {"Authorization": f"Bearer {key or self.api_key}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        for line in answer:
            if line.startswith(b"data: "):
                text = line[6:].strip().decode()
                yield text if text == "[DONE]" else json.loads(text)
        connection.close()

    def stream_text(self, prompt, **fields):
        events = list(self.stream(prompt, **fields))
        assert events[-1] == "[DONE]"
        return "".join(c["delta"].get("content") or "" for e in events[:-1] for c in e["choices"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ready_appliance(folder=None, config="", model=MINI):
    """Set up, with ostal-mini (or another model's folder under its name) loaded and an API key."""
    appliance = Appliance(folder, config)
    try:
        signer = Signer(appliance.folder / "signer")
        appliance.trust_signer(signer)
        appliance.start()
        appliance.set_up()
        appliance.install(signer.bundle(appliance.folder / "medium", model=model))
        appliance.api_key = appliance.make_key()
        appliance.ready()
        appliance.signer = signer
        return appliance
    except BaseException:
        appliance.close()
        raise
