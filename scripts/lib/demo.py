"""The demo behind scripts/demo: everything a site does on its first day, with keys made here and thrown away."""
import argparse
import errno
import http.client
import json
import os
import pathlib
import re
import resource
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "release" / "bin"
MAX_SOCKET_PATH = 107  # sun_path of a UNIX socket, less its NUL
SAMPLE_PROMPT = "What is the capital of Germany?"
SAMPLE_PROMPT_MINI = "What is a violin?"
START_SECONDS = 60


class DemoError(Exception):
    """A failure with words for the person at the terminal."""


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def run(*words, stdin=None, quiet=False):
    """Standard output of a program of ours; its own words become ours when it fails."""
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        detail = done.stderr.strip() or f"exit code {done.returncode}"
        if "No space left" in detail or "no_space" in detail:
            detail += "\nThe disk is full: free some space, or choose another disk with --state FOLDER."
        raise DemoError(f"{pathlib.Path(words[0]).name} {' '.join(map(str, words[1:3]))} failed: {detail}")
    if done.stderr and not quiet:
        sys.stderr.write(done.stderr)
    return done.stdout


class Demo:
    def __init__(self, options):
        self.options = options
        self.made_state = options.state is None
        if self.made_state:
            self.state = pathlib.Path(tempfile.mkdtemp(prefix="ostal-demo-"))
        else:
            self.state = pathlib.Path(options.state).absolute()
        self.socket = self.state / "ctl.sock"
        self.daemon = None

    # ---- what may be wrong before anything starts ----

    def check_machine(self):
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH:
            raise DemoError(f"the state folder's path is too long: {self.socket} would have {len(os.fsencode(self.socket))} "
                            f"bytes and a UNIX socket holds {MAX_SOCKET_PATH}; choose a shorter one with --state")
        if os.geteuid() == 0:
            say("warning: running as root; the packaged service runs as the user ostal")
        soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if soft != resource.RLIM_INFINITY and soft < 64 << 20:
            say(f"warning: the limit of locked memory is {soft >> 10} KiB; keys and weights may reach swap "
                "(raise it with: ulimit -l unlimited)")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.options.port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise DemoError(f"port {self.options.port} is in use by another program; choose one with --port N") from None
                raise DemoError(f"port {self.options.port} cannot be used: {error.strerror}; choose one with --port N") from None

    # ---- models ----

    def models(self):
        """(name, path, format or None) of what is imported; the first one answers."""
        wanted = self.options.model
        mini = ("ostal-mini", ROOT / "models" / "ostal-mini", "v3")
        if wanted == "ostal-mini":
            return [mini]
        if wanted not in (None, "smollm2"):
            path = pathlib.Path(wanted)
            if not path.exists():
                raise DemoError(f"--model {wanted}: there is no such file or folder, and the known names are smollm2 and ostal-mini")
            name = re.sub(r"[^a-z0-9._-]+", "-", (path.stem if path.is_file() else path.resolve().name).lower()).strip("-._") or "model"
            return [(name[:64], path.resolve(), self.options.format)]
        say("fetching SmolLM2-135M-Instruct")
        fetched = subprocess.run([sys.executable, str(ROOT / "scripts" / "lib" / "fetch_smollm2.py"), str(ROOT / "build" / "models")],
                                 capture_output=True, text=True)
        if fetched.returncode == 0:
            return [("smollm2", pathlib.Path(fetched.stdout.strip()), None), mini]
        if wanted == "smollm2":
            raise DemoError(f"SmolLM2 cannot be had: {fetched.stderr.strip()}")
        say(f"SmolLM2 cannot be had ({fetched.stderr.strip()}); ostal-mini answers instead")
        return [mini]

    def sign(self, name, path, instruct_format):
        """A signed bundle of one model, made once a state folder."""
        medium = self.state / "media" / name
        if (medium / "metadata" / "timestamp.json").exists():
            return medium
        shutil.rmtree(medium, ignore_errors=True)
        say(f"signing {name} with the demo's key")
        words = [BIN / "ostal-bundle", "create", "--model", path, "--name", name, "--version", "1",
                 "--key", self.state / "keys" / "signing.pem", "--root", self.state / "trust" / "demo.root.json", "--out", medium]
        if instruct_format:
            words += ["--format", instruct_format]
        run(*words, quiet=True)
        return medium

    # ---- the daemon ----

    def prepare(self):
        for folder in ("keys", "trust", "media", "data"):
            (self.state / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = self.state / "keys"
        if not (keys / "signing.pem").exists():
            run(BIN / "ostal-bundle", "keygen", "--out", keys / "signing.pem", quiet=True)
        if not (self.state / "trust" / "demo.root.json").exists():
            run(BIN / "ostal-bundle", "root", "--key", keys / "signing.pem", "--out", self.state / "trust" / "demo.root.json", quiet=True)
        if not (keys / "unseal.key").exists():
            self.write_secret("unseal.key", secrets.token_bytes(32))
            self.write_secret("owner.password", secrets.token_urlsafe(18).encode())
        (self.state / "ostal.toml").write_text(
            f'[instance]\nname = "demo"\n\n[paths]\nstate = "{self.state / "data"}"\ntrust = "{self.state / "trust"}"\n'
            f'control_socket = "{self.socket}"\n\n[keys]\nunseal_key_file = "{keys / "unseal.key"}"\n\n'
            f'[[listener]]\naddress = "127.0.0.1"\nport = {self.options.port}\n')

    def write_secret(self, name, content):
        path = self.state / "keys" / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)

    def start(self):
        log = open(self.state / "ostald.log", "ab")
        self.daemon = subprocess.Popen([str(BIN / "ostald"), "--config", str(self.state / "ostal.toml"),
                                        "--listen", f"127.0.0.1:{self.options.port}"],
                                       stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.wait(lambda: self.ctl_json("status") is not None, "the daemon did not start")

    def wait(self, condition, what, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.daemon.poll() is not None:
                raise DemoError(f"the daemon ended: {self.log_tail()}")
            if condition():
                return
            time.sleep(0.05)
        raise DemoError(f"{what} within {seconds} s: {self.log_tail()}")

    def log_tail(self):
        lines = (self.state / "ostald.log").read_text(errors="replace").strip().splitlines()
        return "\n".join(re.sub(r"^<\d>", "", line) for line in lines[-5:])

    def ctl(self, *words, stdin=""):
        return json.loads(run(BIN / "ostalctl", "--socket", self.socket, "-o", "json", *words, stdin=stdin, quiet=True))

    def ctl_json(self, *words):
        done = subprocess.run([str(BIN / "ostalctl"), "--socket", str(self.socket), "-o", "json", *words],
                              capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def set_up(self):
        if self.ctl("status")["phase"] == "new":
            say("setting up: keystore, owner, certificates")
            password = (self.state / "keys" / "owner.password").read_text()
            self.ctl("setup", "--single", "--user", "owner", "--key-file", self.state / "keys" / "unseal.key", stdin=password + "\n")
        self.wait(lambda: self.ctl("status")["phase"] == "unsealed", "the appliance was not unsealed")

    def install_model(self, name, path, instruct_format):
        present = {(m["name"], m["version"]): m["state"] for m in self.ctl("model", "list")}
        if (name, 1) not in present:
            medium = self.sign(name, path, instruct_format)
            say(f"importing {name}: verify, encrypt, store")
            self.ctl("model", "import", medium)
            shutil.rmtree(medium, ignore_errors=True)
        state = {(m["name"], m["version"]): m["state"] for m in self.ctl("model", "list")}[(name, 1)]
        if state == "verified":
            self.ctl("model", "approve", name, "1")
            state = "approved"
        if state == "approved":
            say(f"loading {name}")
            self.ctl("model", "activate", name, "1")
        self.ctl("model", "grant", name)
        self.wait(lambda: any(m["name"] == name and m["loaded"] for m in self.ctl("model", "list")), f"{name} was not loaded")

    def api_key(self):
        path = self.state / "keys" / "api-key"
        if not path.exists():
            self.write_secret("api-key", self.ctl("key", "create", "demo")["key"].encode())
        return path.read_text()

    # ---- one chat ----

    def ask(self, model, prompt, greedy):
        """Streams the answer to stdout."""
        context = ssl.create_default_context(cafile=str(self.state / "data" / "tls" / "ca.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.options.port, context=context, timeout=300)
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        if greedy:
            body["temperature"] = 0
        connection.request("POST", "/v1/chat/completions", json.dumps(body),
                           {"Authorization": f"Bearer {self.api_key()}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise DemoError(f"the request was answered {answer.status}: {answer.read().decode(errors='replace')}")
        for line in answer:
            if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise DemoError(f"the answer broke off: {event['error']['message']}")
            for choice in event["choices"]:
                sys.stdout.write(choice["delta"].get("content") or "")
                sys.stdout.flush()
        print(flush=True)
        connection.close()

    # ---- the whole ----

    def serve(self, model):
        ca = self.state / "data" / "tls" / "ca.pem"
        sample = SAMPLE_PROMPT_MINI if model == "ostal-mini" else SAMPLE_PROMPT
        say(f"asking {model}: {sample}")
        self.ask(model, sample, greedy=True)
        print(f"\nThe appliance serves https://127.0.0.1:{self.options.port} (state: {self.state}). Try:\n\n"
              f"curl --cacert {ca} -N https://127.0.0.1:{self.options.port}/v1/chat/completions \\\n"
              f"  -H 'Authorization: Bearer {self.api_key()}' -H 'Content-Type: application/json' \\\n"
              f"  -d '{{\"model\": \"{model}\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"{sample}\"}}]}}'\n\n"
              f"{BIN / 'ostalctl'} --socket {self.socket} status\n"
              f"{BIN / 'ostal-audit'} verify {self.state / 'data' / 'audit'}\n\n"
              "Ctrl-C ends it.", file=sys.stderr, flush=True)
        while self.daemon.poll() is None:
            time.sleep(0.2)
        raise DemoError(f"the daemon ended: {self.log_tail()}")

    def stop(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(90)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        if self.made_state:
            shutil.rmtree(self.state, ignore_errors=True)

    def run(self):
        self.check_machine()
        models = self.models()
        self.prepare()
        self.start()
        self.set_up()
        for name, path, instruct_format in models:
            self.install_model(name, path, instruct_format)
        if self.options.once is not None:
            self.ask(models[0][0], self.options.once, greedy=True)
        else:
            self.serve(models[0][0])


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Try the whole appliance on this machine.")
    parser.add_argument("--once", metavar="PROMPT", help="print the (greedy) answer to PROMPT and end")
    parser.add_argument("--port", type=int, default=8443, help="port of the HTTPS server (default 8443)")
    parser.add_argument("--state", metavar="FOLDER", help="keep the state here and use it again; default: a folder that is removed")
    parser.add_argument("--model", metavar="NAME|DIR|FILE.gguf", help="smollm2 (default), ostal-mini, a model folder or a GGUF file")
    parser.add_argument("--format", help="instruct format of --model DIR when its template is not known (v1, v2, v3, chatml)")
    parser.add_argument("--no-install", action="store_true", help="install no packages; say what is missing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    demo = None
    try:
        demo = Demo(options)
        demo.run()
        return 0
    except KeyboardInterrupt:
        say("ending")
        return 0 if options.once is None else 130
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        advice = "; free some space, or choose another disk with --state FOLDER" if error.errno == errno.ENOSPC else ""
        print(f"demo: {error}{advice}", file=sys.stderr)
        return 1
    finally:
        # A second Ctrl-C must not leave the daemon and its folder behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if demo is not None:
            demo.stop()


if __name__ == "__main__":
    sys.exit(main())
