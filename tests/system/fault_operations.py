"""What the fault runs do to a daemon, the state folders they begin with, and what is compared afterwards."""
import dataclasses
import json
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import sys
from typing import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from appliance import BIN, Appliance, Signer, run  # noqa: E402

MODEL = "tiny"
BUNDLE_RECORDS = 256


@dataclasses.dataclass
class Outcome:
    ok: bool
    code: int = 0     # exit code of ostalctl, or HTTP status
    text: str = ""
    answer: object = None


class Box(Appliance):
    """A daemon on a copy of a prepared state folder."""

    last_answer = None

    def start(self, **options):
        """Returns once the daemon has tried to unseal; it answers on its socket before."""
        log = self.folder / "ostald.log"
        known = log.stat().st_size if log.exists() else 0
        super().start(**options)
        self.wait(lambda: b">serving " in log.read_bytes()[known:])

    def settle(self):
        """Models are loaded, or could not be."""
        self.wait(lambda: self.ctl("status")["reason"] != "loading")

    def ctl_outcome(self, *words, stdin=""):
        done = run(BIN / "ostalctl", "--socket", self.socket, "-o", "json", *words, stdin=stdin, check=False)
        answer = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None
        return Outcome(done.returncode == 0, done.returncode, done.stderr.strip(), answer)

    def chat_outcome(self):
        try:
            status, body, headers = self.request("POST", "/v1/chat/completions", {
                "model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 1, "temperature": 0}, self.api_key)
        except OSError as error:  # the daemon died under the request
            return Outcome(False, 0, str(error) or type(error).__name__)
        return Outcome(status == 200, status, body.get("code", "") if isinstance(body, dict) else "", headers.get("x-request-id"))


@dataclasses.dataclass
class Operation:
    name: str
    template: str
    perform: Callable[[Box], Outcome]
    action: str                 # of the audit record that must exist before the effect
    unsealed: bool = True       # the daemon unseals at its start
    slots: bool = False         # which secrets open the keystore is tried out
    at_start: bool = False      # the faults hit the start of the daemon itself
    tries: Callable[[Box], None] = lambda box: None  # after success: what the operation promised must work


def slot_id(box, label):
    return next(slot["id"] for slot in box.ctl("slot", "list") if slot["label"] == label)


def use_new_key(box):
    """A key that was handed out opens the API."""
    assert box.request("GET", "/v1/models", key=box.last_answer["key"])[0] == 200, "the key that was shown does not work"


def two_requests(box):
    """The first fills a bundle of the audit, which is renamed after its answer; the second begins a new one."""
    first = box.chat_outcome()
    return box.chat_outcome() if first.ok else first


def answer_is_recorded(box):
    answered = {r["id"] for r in box.audit_records() if r["pair"] == "response"}
    assert box.last_answer in answered, "an answer without its record"


def remove_slot(box):
    try:
        return box.ctl_outcome("slot", "remove", slot_id(box, "second"))
    except StopIteration:
        return Outcome(False, 4, "no such slot")


OPERATIONS = [
    Operation("import", "model-1", lambda box: box.ctl_outcome("model", "import", box.folder.parent / "medium-2"), "model:import"),
    Operation("activate", "approved-2", lambda box: box.ctl_outcome("model", "activate", MODEL, "2"), "model:activate"),
    Operation("rollback", "active-2", lambda box: box.ctl_outcome("model", "rollback", MODEL), "model:rollback"),
    Operation("slot add", "set-up", lambda box: box.ctl_outcome("slot", "add", "third", "--key-file", box.folder / "third.key"),
              "crypto:slot", slots=True),
    Operation("slot remove", "set-up", remove_slot, "crypto:slot", slots=True),
    Operation("audit append", "bundle-end", two_requests, "inference:chat", tries=answer_is_recorded),
    Operation("checkpoint", "set-up", lambda box: box.ctl_outcome("audit", "verify"), "audit:verify"),
    Operation("user create", "set-up", lambda box: box.ctl_outcome("user", "create", "Second", "--role", "project-member",
                                                                   stdin="another long password\n"), "user:create"),
    Operation("key create", "set-up", lambda box: box.ctl_outcome("key", "create", "second"), "key:create", tries=use_new_key),
    Operation("seal", "set-up", lambda box: box.ctl_outcome("seal"), "crypto:seal"),
    Operation("unseal", "set-up", lambda box: box.ctl_outcome("unseal", "--key-file", box.key_file), "crypto:unseal", unsealed=False),
    Operation("start", "model-1", None, "system:start", at_start=True),
]


class Templates:
    """State folders to begin with, each made once, on a file system in memory."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.signer = Signer(self.folder / "signer")
        model = self.folder / "model"
        subprocess.run([sys.executable, ROOT / "tests/tools/make_model.py", "--preset", "micro", "--tokenizer",
                        ROOT / "models/ostal-mini/tokenizer.model", "--hf", model], check=True, stdout=subprocess.DEVNULL)
        for version in (1, 2):
            self.signer.bundle(self.folder / f"medium-{version}", name=MODEL, version=version, model=model)
        self.made = {}

    def get(self, name):
        if name not in self.made:
            self.made[name] = self.make(name)
        return self.made[name]

    def make(self, name):
        steps = {
            "set-up": (None, self.set_up),
            "model-1": ("set-up", lambda box: box.install(self.folder / "medium-1", MODEL, 1)),
            "bundle-end": ("model-1", self.fill_bundle),
            "approved-2": ("model-1", lambda box: (box.ctl("model", "import", self.folder / "medium-2"),
                                                   box.ctl("model", "approve", MODEL, "2"))),
            "active-2": ("approved-2", lambda box: box.ctl("model", "activate", MODEL, "2")),
        }
        before, change = steps[name]
        box = self.copy(before, f"template-{name}") if before else Box(self.folder / f"template-{name}")
        box.trust_signer(self.signer)
        try:
            box.start()
            box.settle()
            change(box)
            box.stop()
        finally:
            if box.process is not None:
                box.kill()
        return box

    def set_up(self, box):
        box.set_up()
        for label in ("second", "third"):
            (box.folder / f"{label}.key").write_bytes(label.encode().ljust(32, b"."))
        box.ctl("slot", "add", "second", "--key-file", box.folder / "second.key")
        box.api_key = box.make_key()

    # So many records that, after a start, the second record of a request is the last one of its bundle.
    def fill_bundle(self, box):
        start_and_unseal, stop, request = 2, 1, 2
        while (box.ctl("status")["audit_records"] + stop + start_and_unseal + request) % BUNDLE_RECORDS != 0:
            box.ctl("audit", "verify")

    def copy(self, name, to):
        template = self.get(name)
        shutil.copytree(template.folder, self.folder / to)
        box = Box(self.folder / to)
        box.api_key = template.api_key
        return box


# ---- what is compared ----

def floors_of(state):
    """{name: (version, previous)} of keystore/floor (security/storage/floor_file.cpp), without its MAC."""
    data = (state / "keystore" / "floor").read_bytes() if (state / "keystore" / "floor").exists() else b"OSTFLR1\n" + bytes(36)
    count, at, floors = struct.unpack_from("<I", data, 8)[0], 12, {}
    for _ in range(count):
        name = data[at + 1:at + 1 + data[at]].decode()
        at += 1 + data[at]
        version, has_previous, previous = struct.unpack_from("<QBQ", data, at)
        floors[name] = [version, previous if has_previous else None]
        at += 17
    return floors


def floors_of_rows(state):
    database = sqlite3.connect(f"file:{state}/db/ostal.db?mode=ro", uri=True)
    try:
        return {name: [floor, serving, previous]
                for name, floor, serving, previous in database.execute("SELECT name, floor, serving, previous FROM model_names")}
    finally:
        database.close()


def observe(box):
    """The state of an unsealed appliance without what differs from run to run (ids, times)."""
    models = box.ctl("model", "list")
    return {
        "models": [[m["name"], m["version"], m["state"], m["previous"], m["digest"]] for m in models],
        "slots": sorted(slot["label"] for slot in box.ctl("slot", "list")),
        "users": sorted([u["name"], u["roles"], u["disabled"]] for u in box.ctl("user", "list")),
        "keys": sorted([k["name"], k["revoked"] is not None] for k in box.ctl("key", "list")),
        "floors": {name: floor for name, floor in floors_of(box.state).items() if name.startswith("model/")},
        "rows": floors_of_rows(box.state),
    }


def metadata_seen(box):
    """Versions of each role's metadata that were seen: {name: version}. Recorded before an import takes its versions
    in, so they may be ahead of the models, and never fall."""
    return {name: floor[0] for name, floor in floors_of(box.state).items() if name.startswith("role/")}


def secrets_that_open(box):
    """Labels of the key files that unseal; leaves the appliance unsealed."""
    opened = []
    for label, path in (("second", box.folder / "second.key"), ("third", box.folder / "third.key"), ("key file", box.key_file)):
        box.ctl("seal")
        words = ("unseal", "--key-file", path)
        outcome = box.ctl_outcome(*words)
        if outcome.ok:
            opened.append(label)
            continue
        assert outcome.code == 3, f"unsealing with {label}: {outcome.text}"
        while not (outcome := box.ctl_outcome("unseal", "--key-file", box.key_file)).ok:
            assert "too soon" in outcome.text, outcome.text
    return sorted(opened)


def serves(box):
    """Whether the appliance answers; the model too where one is installed."""
    if not box.ctl("model", "list") or not any(m["loaded"] for m in box.ctl("model", "list")):
        return box.request("GET", "/v1/models", key=box.api_key)[0] == 200
    return box.chat_outcome().ok


__all__ = ["OPERATIONS", "Box", "Operation", "Outcome", "Templates", "metadata_seen", "observe", "secrets_that_open", "serves"]
