"""New, sealed, unsealed; refusals of imports; kill -9; disks that fill."""
import concurrent.futures
import json
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

from appliance import BIN, MINI, Appliance, CtlError, Signer, ready_appliance, run


def fails(code, call, *words, **options):
    with pytest.raises(CtlError) as error:
        call(*words, **options)
    assert error.value.code == code, str(error.value)
    return error.value.text


def test_new_sealed_unsealed():
    appliance = Appliance()
    try:
        appliance.start(unseal=False)
        assert appliance.ctl("status")["phase"] == "new"
        status, body, headers = appliance.request("GET", "/readyz")
        assert status == 503 and body["status"] == "setup_required"
        assert appliance.request("GET", "/v1/models", key="x")[1]["code"] == "setup_required"
        fails(6, appliance.ctl, "user", "list")
        appliance.set_up()
        fails(5, appliance.set_up)
        assert appliance.ctl("status")["phase"] == "unsealed"
        key = appliance.make_key()
        assert appliance.request("GET", "/v1/models", key=key)[0] == 200
        appliance.ctl("slot", "add", "spare", stdin="a long spare passphrase\n")
        appliance.ctl("seal")
        assert appliance.request("GET", "/v1/models", key=key)[1]["code"] == "sealed"
        assert appliance.request("GET", "/v1/models")[0] == 503  # before credentials are read
        assert appliance.request("GET", "/livez")[0] == 200
        assert appliance.request("GET", "/api/v1/seal")[1]["state"] == "sealed"
        fails(3, appliance.ctl, "unseal", stdin="not the passphrase\n")
        time.sleep(0.2)
        assert appliance.request("POST", "/api/v1/unseal", {"passphrase": "wrong one"})[0] == 401
        # Nobody waits on a thread of the server: the next try is refused until its time has come.
        assert appliance.request("POST", "/api/v1/unseal", {"passphrase": "a long spare passphrase"})[0] == 429
        assert appliance.request("GET", "/livez")[0] == 200
        time.sleep(0.4)
        assert appliance.request("POST", "/api/v1/unseal", {"passphrase": "a long spare passphrase"})[0] == 200
        assert appliance.request("GET", "/v1/models", key=key)[0] == 200
        slots = appliance.ctl("slot", "list")
        assert len(slots) == 2
        appliance.ctl("slot", "remove", slots[0]["id"])
        fails(5, appliance.ctl, "slot", "remove", slots[1]["id"])
        appliance.stop()
        assert appliance.audit_verify()[0] == 0
        appliance.start(unseal=False)
        assert appliance.ctl("status")["phase"] == "sealed"
        appliance.ctl("unseal", stdin="a long spare passphrase\n")
        assert appliance.request("GET", "/v1/models", key=key)[0] == 200
    finally:
        appliance.close()


def status_of(pid, thread=None):
    path = f"/proc/{pid}/task/{thread}/status" if thread else f"/proc/{pid}/status"
    with open(path) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_start_order_and_what_the_processes_gave_up(appliance):
    """options, zygote, listeners, sandbox, threads: the zygote has no listener, every thread is confined."""
    assert 'steps="config,zygote,listeners,sandbox,threads"' in appliance.log_text() or \
        "steps=config,zygote,listeners,sandbox,threads" in appliance.log_text()
    pid = appliance.process.pid
    confined = "is not confined" not in appliance.log_text() and "are not confined" not in appliance.log_text()
    threads = os.listdir(f"/proc/{pid}/task")
    assert len(threads) > 8
    names = {status_of(pid, t)["Name"] for t in threads}
    assert {"ost-io", "ost-log", "ost-ctl"} <= {n.split("-0")[0] for n in names} | names
    for thread in threads:
        status = status_of(pid, thread)
        assert status["NoNewPrivs"] == "1"
        if confined:
            assert status["Seccomp"] == "2", status["Name"]
    children = [p for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/status") and status_of(p)["PPid"] == str(pid)]
    assert [status_of(p)["Name"] for p in children] == ["ostald-zygote"]
    zygote = children[0]
    assert status_of(zygote)["Threads"] == "1"
    assert sorted(os.readlink(f"/proc/{zygote}/fd/{f}").split(":")[0] for f in os.listdir(f"/proc/{zygote}/fd")) == ["/dev/null"] * 3 + ["socket"]


def test_rows_removed_while_the_daemon_is_down_keep_it_sealed(own_appliance):
    """A withdrawn role or a removed officer must not come about by editing the file."""
    appliance = own_appliance()
    appliance.ctl("user", "create", "Second", stdin="another long password\n")
    appliance.stop()
    path = appliance.state / "db" / "ostal.db"
    saved = path.read_bytes()
    with sqlite3.connect(path) as database:
        assert database.execute("DELETE FROM users WHERE name = 'Second'").rowcount == 1
    database.close()
    appliance.start()
    assert appliance.ctl("status")["phase"] == "sealed"
    assert appliance.chat("What is a violin?")[0] == 503
    appliance.stop()
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    path.write_bytes(saved)
    appliance.start()
    appliance.ready()
    assert appliance.chat("What is a violin?")[0] == 200


def test_a_dead_zygote_stops_imports_and_nothing_else(own_appliance):
    appliance = own_appliance()
    pid = appliance.process.pid
    zygote = next(p for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/status") and status_of(p)["PPid"] == str(pid))
    os.kill(int(zygote), 9)
    medium = appliance.signer.bundle(appliance.folder / "second", version=2)
    fails(6, appliance.ctl, "model", "import", medium)
    assert appliance.chat("What is a violin?")[0] == 200


def test_state_folder_in_use(appliance):
    second = Appliance(appliance.folder)
    second.socket = appliance.folder / "second.sock"
    config = appliance.folder / "ostal.toml"
    saved = config.read_text()
    try:
        assert second.start(expect_exit=True) == 5
        assert "in use" in second.log_text()
    finally:
        config.write_text(saved)


def test_port_in_use_says_what_to_do(appliance, tmp_path):
    second = Appliance(tmp_path)
    second.port = appliance.port
    assert second.start(expect_exit=True) == 5
    assert str(appliance.port) in second.log_text() and "in use" in second.log_text()


def test_bad_configuration_names_file_and_line(tmp_path):
    bad = Appliance(tmp_path, config="[engine]\nthread = 2\n")
    assert bad.start(expect_exit=True) == 1
    assert "engine.threads" in bad.log_text()


def corrupt(path, offset=-1):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def tamper_flip(medium):
    corrupt(next(medium.rglob("*.model.safetensors")), 100_000)


def tamper_metadata(medium):
    corrupt(next(medium.glob("metadata/*.targets.json")), 200)


def tamper_missing(medium):
    next(medium.rglob("*.config.json")).unlink()


def tamper_extra(medium):
    (next(medium.rglob("*.config.json")).parent / ("0" * 64 + ".extra.json")).write_text("{}")


def tamper_rename(medium):
    path = next(medium.rglob("*.config.json"))
    path.rename(path.with_name(path.name.replace("config.json", "Config.json")))


def tamper_truncate(medium):
    path = next(medium.rglob("*.model.safetensors"))
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("tamper", [tamper_flip, tamper_metadata, tamper_missing, tamper_extra, tamper_rename, tamper_truncate])
def test_tampered_media_are_refused_and_change_nothing(appliance, tamper):
    before = appliance.ctl("model", "list")
    medium = appliance.signer.bundle(appliance.folder / "tampered", version=5)
    tamper(medium)
    text = fails(7, appliance.ctl, "model", "import", medium)
    assert text
    assert appliance.ctl("model", "list") == before
    assert list((appliance.state / "staging").iterdir()) == []
    assert appliance.chat("What is a violin?")[0] == 200


def test_links_are_refused(appliance):
    medium = appliance.signer.bundle(appliance.folder / "linked", version=5)
    path = next(medium.rglob("*.config.json"))
    target = appliance.folder / "elsewhere.json"
    shutil.move(path, target)
    path.symlink_to(target)
    fails(1, appliance.ctl, "model", "import", medium)
    path.unlink()
    os.link(target, path)
    fails(7, appliance.ctl, "model", "import", medium)


def test_unknown_key_shows_both_fingerprints(appliance):
    stranger = Signer(appliance.folder / "stranger", "stranger")
    medium = stranger.bundle(appliance.folder / "strange", name="strange")
    text = fails(7, appliance.ctl, "model", "import", medium)
    inspected = json.loads(run(BIN / "ostal-bundle", "inspect", medium, "-o", "json").stdout)
    assert inspected
    assert text.count(":") >= 1 and len([w for w in text.replace(",", " ").split() if len(w.strip(".;()")) == 64]) >= 2, text


def test_expired_medium(appliance):
    medium = appliance.signer.bundle(appliance.folder / "expired", version=5, extra=("--expires", "2020-01-01T00:00:00Z"))
    assert "expire" in fails(7, appliance.ctl, "model", "import", medium)


def test_below_the_floor(own_appliance):
    appliance = own_appliance()
    appliance.install(appliance.signer.bundle(appliance.folder / "three", version=3), version=3)
    old = appliance.signer.bundle(appliance.folder / "two", version=2)
    text = fails(7, appliance.ctl, "model", "import", old)
    assert "2" in text and "3" in text
    appliance.ctl("model", "rollback", "ostal-mini")
    serving = [m for m in appliance.ctl("model", "list") if m["loaded"]]
    assert [m["version"] for m in serving] == [1]
    assert appliance.chat("What is a violin?")[0] == 200


def test_every_byte_of_a_sealed_weight_matters(own_appliance):
    appliance = own_appliance()
    appliance.stop()
    sealed = next((appliance.state / "models").rglob("*.safetensors.ostw"))
    original = sealed.read_bytes()
    size = len(original)
    for offset in [0, 9, 60, 100, 4095, 4100, 4160, size // 2, size - 1]:
        corrupt(sealed, offset)
        appliance.start()
        appliance.wait(lambda: appliance.request("GET", "/readyz")[1]["status"] == "no_model")
        assert appliance.chat("What is a violin?")[0] == 404
        appliance.stop()
        sealed.write_bytes(original)
    appliance.start()
    appliance.ready()
    assert appliance.chat("What is a violin?")[0] == 200


def test_kill_9_at_twenty_random_moments(own_appliance):
    """Acknowledged requests (answered whole) are in the audit; every start is clean; the audit verifies."""
    appliance = own_appliance()
    acknowledged = set()
    lock = threading.Lock()
    rng = random.Random(20260101)

    def load(stop):
        while not stop.is_set():
            try:
                status, _, headers = appliance.chat("What is a violin?", max_tokens=8)
                if status == 200:
                    with lock:
                        acknowledged.add(headers["x-request-id"])
            except Exception:  # the daemon was killed under the request
                return

    for _ in range(20):
        stop = threading.Event()
        clients = [threading.Thread(target=load, args=(stop,)) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(rng.uniform(0.02, 0.6))
        appliance.kill()
        stop.set()
        for client in clients:
            client.join()
        code, text = appliance.audit_verify()
        assert code == 0 or "beyond the last checkpoint" in text or "torn" in text, text
        appliance.start()
        appliance.ready()
        assert appliance.ctl("audit", "verify")["ok"]
    with_response = {r["id"] for r in appliance.audit_records() if r["pair"] == "response"}
    assert acknowledged <= with_response
    assert len(acknowledged) > 20


def test_disk_full_during_import(tmp_path):
    """A small file system of its own; skipped where it cannot be mounted."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", str(mount)], capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    appliance = None
    try:
        appliance = Appliance(tmp_path / "a")
        appliance.state = mount / "state"
        signer = Signer(tmp_path / "signer")
        appliance.trust_signer(signer)
        medium = signer.bundle(tmp_path / "medium")
        appliance.start()
        appliance.set_up()
        text = fails(6, appliance.ctl, "model", "import", medium)
        assert "space" in text.lower()
        assert appliance.ctl("model", "list") == []
        assert list((appliance.state / "staging").iterdir()) == []
        assert appliance.ctl("audit", "verify")["ok"]
    finally:
        if appliance is not None:
            appliance.close()
        subprocess.run(["umount", str(mount)], check=False)
