"""A disk that fills, and one that fails, while the appliance serves (security.md b.6: no record, no reply)."""
import contextlib
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from audit_verify import Log  # noqa: E402
from fault_control import FaultControl, is_instrumented  # noqa: E402
from fault_operations import MODEL, Box, Templates  # noqa: E402


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    return Templates(tmp_path_factory.mktemp("templates"))


@pytest.fixture()
def small_disk(tmp_path, templates):
    """A daemon whose whole state lies on a tmpfs of 16 MiB; skipped where none can be mounted."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(mount)], capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    template = templates.get("model-1")
    box = Box(shutil.copytree(template.folder, tmp_path / "box"))
    shutil.move(box.state, mount / "state")
    box.state = mount / "state"
    box.api_key = template.api_key
    box.mount = mount
    try:
        box.start()
        box.ready()
        yield box
    finally:
        box.close()
        subprocess.run(["umount", str(mount)], check=False)


def fill(box):
    """Every free byte, as another program would."""
    with open(box.mount / "filler", "ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


class Clients:
    """Streams until told to end; the ids of requests whose stream came to its end are acknowledged."""

    def __init__(self, box, count=3):
        self.box = box
        self.acknowledged = set()
        self.refusals = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self):
        while not self.stopping.is_set():
            status, text, headers = self.box.request("POST", "/v1/chat/completions", {
                "model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "temperature": 0,
                "stream": True}, self.box.api_key)
            with self.lock:
                if status == 200 and isinstance(text, str) and text.rstrip().endswith("[DONE]"):
                    self.acknowledged.add(headers["x-request-id"])
                else:
                    self.refusals.append((status, text))

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def is_writable(box):
    return box.ctl("status")["audit_writable"]


def responses(box):
    return {r["id"] for r in box.audit_records() if r["pair"] == "response"}


def holds(box):
    assert box.ctl("audit", "verify")["ok"]
    box.stop()
    assert box.audit_verify()[0] == 0
    assert Log(box.state / "audit").verdict()["ok"]


def test_a_disk_that_fills_while_streams_run(small_disk):
    box = small_disk
    clients = Clients(box)
    try:
        box.wait(lambda: len(clients.acknowledged) > 5)
        fill(box)
        box.wait(lambda: not is_writable(box))
        box.wait(lambda: any(status == 503 for status, _ in clients.refusals))
    finally:
        clients.stop()
    # Nothing that should be recorded happens, and everybody is told so.
    assert all(status == 503 or "error" in str(text) for status, text in clients.refusals), clients.refusals[:3]
    assert box.chat_outcome().code == 503
    status, body, _ = box.request("GET", "/readyz")
    assert status == 503 and body["status"] == "audit"
    assert box.request("GET", "/livez")[0] == 200
    refused = box.ctl_outcome("key", "create", "late")
    assert refused.code == 6 and "audit" in refused.text
    # What must still be possible: reading the audit; its records go to the reserve.
    before = box.ctl("status")["audit_records"]
    assert box.ctl("audit", "tail", "--count", "3")
    assert box.ctl("audit", "verify")["ok"]
    assert box.ctl("status")["audit_records"] == before + 3
    assert not (box.state / "audit" / "reserve").exists()
    fill(box)  # and what was left of it
    assert box.ctl_outcome("audit", "recover").code == 6
    assert not is_writable(box) and box.chat_outcome().code == 503
    # With space again the appliance goes on without a restart.
    (box.mount / "filler").unlink()
    assert box.ctl("audit", "recover")["audit_writable"]
    assert (box.state / "audit" / "reserve").exists()
    assert box.chat_outcome().ok
    assert box.request("GET", "/readyz")[0] == 200
    assert clients.acknowledged <= responses(box)
    assert [r["action"] for r in box.audit_records()].count("audit:recover") == 1
    assert "late" not in {k["name"] for k in box.ctl("key", "list")}
    holds(box)


def test_a_full_disk_can_be_sealed_and_a_restart_recovers_too(small_disk):
    box = small_disk
    clients = Clients(box)
    try:
        box.wait(lambda: len(clients.acknowledged) > 2)
        fill(box)
        box.wait(lambda: not is_writable(box))
    finally:
        clients.stop()
    box.ctl("seal")
    assert box.ctl("status")["phase"] == "sealed"
    assert box.audit_records()[-1]["action"] == "crypto:seal"
    assert box.ctl_outcome("unseal", "--key-file", box.key_file).code == 6
    (box.mount / "filler").unlink()
    box.kill()
    box.start()
    box.ready()
    assert is_writable(box) and box.chat_outcome().ok
    assert clients.acknowledged <= responses(box)
    holds(box)


@pytest.mark.skipif(is_instrumented(), reason="a daemon with a sanitizer takes no preloaded library")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("record", [1, 2])  # of the admission, of the end
def test_a_sync_that_fails_is_not_tried_again_as_if_nothing_happened(tmp_path, templates, record, stream):
    box = templates.copy("model-1", f"sync-{record}-{stream}")
    control = FaultControl(tmp_path / "control")

    def ask():
        return box.request("POST", "/v1/chat/completions", {
            "model": MODEL, "messages": [{"role": "user", "content": "a"}], "max_tokens": 1, "temperature": 0, "stream": stream},
            box.api_key)

    try:
        box.start(env=control.environment(box.state))
        box.ready()
        known = box.ctl("status")["audit_records"]
        control.arm("eio", record, only="fdatasync audit/wal/")
        status, text, headers = ask()
        control.disarm()
        assert control.fired == 1
        # No answer without its record: 503, or a stream that ends in an error in place of its last bytes.
        assert status == 503 or (stream and record == 2 and "error" in text and "[DONE]" not in text), (status, text)
        durable = known + record - 1
        assert not is_writable(box) and box.ctl("status")["audit_records"] == durable
        # The disk works again, the log does not: what the failed write left is not trusted.
        assert ask()[0] == 503
        assert box.ctl("status")["audit_records"] == durable
        assert box.ctl("audit", "recover")["audit_writable"]
        assert ask()[0] == 200
        assert headers.get("x-request-id") not in responses(box)
        holds(box)
    finally:
        box.close()
