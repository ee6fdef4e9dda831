"""The public clients against a real daemon, over TLS with the daemon's own certificate authority.

Each client does each operation of OPERATIONS that it offers; conftest.py prints the table. The Python clients are in
clients.py, those for JavaScript in tests/clients: a process per client, run once, that answers for all its operations.
"""
import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request

import pytest

import appliance as harness
import clients
from scripted_model import AFTER_RESULTS, CALLS, write_caller
from spm_model import copy_with_last_pieces

CLIENTS_FOLDER = harness.ROOT / "tests" / "clients"
NODE_FOLDER = harness.ROOT / "build" / "node"
PASSPHRASE = "a long spare passphrase"
QUESTIONS = [clients.QUESTION, "Define freedom.", "What is the opposite of hot?", "Is a dog a kind of animal?",
             "What is 12 + 30?", "Who are you?", "What is a river?", "Define courage."]
OPERATIONS = {
    "models": "list models", "model": "get a model", "chat": "chat", "choices": "chat with `n` (OpenAI's: and log-probabilities)",
    "stream": "streamed chat", "keepalive": "a stream with comments between its events", "abort": "leaving a stream frees its sequences",
    "unauthorized": "401: typed error, code, request id", "model_missing": "404 for a model: the same", "invalid": "422: the same",
    "too_long": "400 for the context's length: the same", "completions": "completions, whole and streamed",
    "fim": "fill-in-the-middle, whole and streamed", "embeddings": "embeddings (OpenAI's: float and base64)",
    "tools": "tools in the request, `tool_choice: auto`",
    "calls": "two tool calls, whole and streamed, and the answer after their results",
    "sixteen": "sixteen requests at once, each as alone",
    "sealed": "an error in mid-stream is raised",
}
PYTHON = {"openai (Python)": clients.OpenAIClient, "mistralai (Python)": clients.MistralClient}
NODE = {"openai (npm)": "openai.mjs", "@mistralai/mistralai (npm)": "mistral.mjs", "ai + @ai-sdk/openai-compatible (npm)": "ai_sdk.mjs"}
# What a client has no call for.
NOT_OFFERED = {"openai (Python)": {"fim"}, "mistralai (Python)": {"completions"},
               "openai (npm)": {"fim"}, "@mistralai/mistralai (npm)": {"completions"},
               "ai + @ai-sdk/openai-compatible (npm)": {"models", "model", "choices", "fim"}}
CELLS = [(client, operation) for client in [*PYTHON, *NODE] for operation in OPERATIONS if operation not in NOT_OFFERED[client]]


class Relay:
    """Another address of the daemon, which puts a comment before each event of an answer."""

    def __init__(self, appliance):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                daemon = appliance.connection()
                daemon.request("POST", self.path, body, {name: self.headers[name] for name in ("Authorization", "Content-Type")})
                answer = daemon.getresponse()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type"))
                self.end_headers()
                for line in answer:
                    self.wfile.write(b": keepalive\n\n" + line if line.startswith(b"data: ") else line)
                daemon.close()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Matrix:
    """The appliance, what the clients are given, and what the JavaScript clients answered."""

    def __init__(self, folder):
        # The control tokens of fill-in-the-middle take the place of two rare pieces; nothing else of the model changes.
        copy_with_last_pieces(harness.MINI, folder / "model", ["[SUFFIX]", "[PREFIX]"])
        self.appliance = harness.ready_appliance(model=folder / "model")
        write_caller(folder / "caller")
        self.appliance.install(self.appliance.signer.bundle(folder / "medium", name=clients.CALLER, model=folder / "caller"), clients.CALLER)
        self.appliance.ready()
        self.appliance.ctl("slot", "add", "spare", stdin=PASSPHRASE + "\n")
        self.relay = Relay(self.appliance)
        self.node_answers = {}
        post = self.appliance.post
        self.given = {
            "url": self.appliance.url,
            "relay": self.relay.url,
            "key": self.appliance.api_key,
            "metrics_key": self.appliance.make_key("--scope", "metrics:read"),
            "calls": CALLS,
            "after_results": AFTER_RESULTS,
            "questions": {q: self.appliance.chat(q)[1]["choices"][0]["message"]["content"] for q in QUESTIONS},
            "completion": post("/v1/completions", prompt="A violin is", temperature=0, max_tokens=12)[1]["choices"][0]["text"],
            "fim": post("/v1/fim/completions", prompt="A violin is", suffix=" instrument.", temperature=0,
                        max_tokens=8)[1]["choices"][0]["message"]["content"],
            "embedding": post("/v1/embeddings", input="A violin")[1]["data"][0]["embedding"],
        }

    def close(self):
        self.relay.close()
        self.appliance.close()

    def seal(self):
        self.appliance.ctl("seal")

    def unseal(self):
        if self.appliance.ctl("status")["phase"] == "sealed":
            self.appliance.ctl("unseal", stdin=PASSPHRASE + "\n")
            self.appliance.ready()

    def figures(self):
        text = self.appliance.request("GET", "/metrics", key=self.given["metrics_key"])[1]
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(values[key]) for name, key in {
            "cancelled": 'ostal_inference_total{end="cancelled"}',
            "running": 'ostal_sequences_running{model="ostal-mini"}',
            "waiting": 'ostal_queue_depth{model="ostal-mini"}'}.items()}

    @contextlib.contextmanager
    def freed(self):
        """The stream that is left inside is counted as cancelled, and nothing of it is computed any more."""
        before = self.figures()
        yield
        self.appliance.wait(lambda: self.figures() == {"cancelled": before["cancelled"] + 1, "running": 0, "waiting": 0})

    def node(self, client):
        """{operation: None or the error's text}, from the one run of a JavaScript client."""
        if client not in self.node_answers:
            self.node_answers[client] = self.run_node(client, [o for c, o in CELLS if c == client])
        return self.node_answers[client]

    def run_node(self, client, operations):
        assert (NODE_FOLDER / "node_modules").is_dir(), "build/node is missing: run scripts/setup --tests"
        # Modules are looked up from where the script lies.
        for script in CLIENTS_FOLDER.glob("*.mjs"):
            shutil.copy(script, NODE_FOLDER)
        node = harness.run(harness.ROOT / "scripts" / "lib" / "node_bin").stdout.strip()
        process = subprocess.Popen([f"{node}/node", NODE_FOLDER / NODE[client]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, env={**os.environ, "NODE_EXTRA_CA_CERTS": str(self.appliance.ca)})
        watchdog = threading.Timer(300, process.kill)
        watchdog.start()
        answers = {}
        try:
            process.stdin.write(json.dumps({**self.given, "operations": operations}))
            process.stdin.close()
            for line in process.stdout:
                said = json.loads(line)
                if said.get("streaming"):
                    self.seal()
                else:
                    answers[said["operation"]] = said["error"]
            assert process.wait() == 0, f"{client} ended with {process.returncode} after {list(answers)}"
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
            self.unseal()
        return answers


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    made = Matrix(tmp_path_factory.mktemp("clients"))
    yield made
    made.close()


@pytest.mark.parametrize("client,operation", CELLS, ids=[f"{c}-{o}" for c, o in CELLS])
def test_client(matrix, record_property, client, operation):
    record_property("client", client)
    record_property("operation", operation)
    if client in NODE:
        answers = matrix.node(client)
        assert operation in answers, f"{client} did not get to {operation}"
        assert answers[operation] is None, answers[operation]
    else:
        try:
            getattr(PYTHON[client](matrix.appliance, matrix.given, matrix.seal, matrix.freed), operation)()
        finally:
            if operation == "sealed":
                matrix.unseal()


def test_the_relay_writes_comments(matrix):
    """Without them `keepalive` would say nothing."""
    ask = urllib.request.Request(f"{matrix.relay.url}/v1/chat/completions", method="POST", headers={
        "Authorization": f"Bearer {matrix.given['key']}", "Content-Type": "application/json"},
        data=json.dumps({"model": clients.MODEL, "messages": clients.MESSAGES, "temperature": 0, "stream": True}).encode())
    with urllib.request.urlopen(ask) as answer:
        text = answer.read()
    assert text.count(b": keepalive\n\ndata: ") == text.count(b"data: ") > 10


def versions():
    """The pinned version of each package of each client."""
    wheels = dict(line.split("==") for line in (harness.ROOT / "scripts" / "requirements.txt").read_text().split() if "==" in line)
    packages = json.loads((CLIENTS_FOLDER / "package.json").read_text())["dependencies"]
    return {client: [(name, (packages if "(npm)" in client else wheels)[name]) for name in re.sub(r" \(.*", "", client).split(" + ")]
            for client in [*PYTHON, *NODE]}


def test_the_table_of_clients_is_documented():
    page = (harness.ROOT / "docs" / "api.md").read_text()
    for client, packages in versions().items():
        for name, version in packages:
            assert f"`{name}` {version}" in page, client
    for operation, words in OPERATIONS.items():
        row = " | ".join("–" if operation in NOT_OFFERED[client] else "yes" for client in [*PYTHON, *NODE])
        assert f"| {words} | {row} |" in page


def test_the_lock_file_names_no_registry():
    """Whoever runs the tests may have a registry of his own: packages are held by their hashes."""
    lock = json.loads((CLIENTS_FOLDER / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 4
    for name, package in packages.items():
        assert "resolved" not in package and package["integrity"].startswith("sha512-"), name
