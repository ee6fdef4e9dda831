"""ostal-audit and the Python verifier judge the same tampered logs, and must agree.

Packages: scripts/requirements.txt (cryptography). OSTAL_BIN_DIR names the folder of the programs.
"""

import json
import os
import pathlib
import random
import shutil
import subprocess

import pytest

from audit_verify import Log, frames_of

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("OSTAL_BIN_DIR", SOURCE / "build/dev/bin"))
COUNT = 600
FIELDS = ("ok", "first_bad", "bad_from", "bad_to", "records", "checkpoint_size")


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A closed log of 600 records: two full bundles and an open one. Its first MAC key is 32 zero bytes."""
    folder = tmp_path_factory.mktemp("audit") / "log"
    folder.mkdir()
    keys = folder.parent / "keys"
    subprocess.run([BIN / "audit_log_helper", folder, keys, "0", str(COUNT)], check=True, stdout=subprocess.DEVNULL)
    (folder.parent / "mac.key").write_text("00" * 32 + "\n")
    return folder


@pytest.fixture()
def log(whole, tmp_path):
    return pathlib.Path(shutil.copytree(whole, tmp_path / "log"))


def judge(folder, macs=False, vkey=None, older=None):
    """Both verdicts, which must be one."""
    words = [BIN / "ostal-audit", "verify", folder, "-o", "json"]
    if macs:
        words += ["--mac-key", folder.parent / "mac.key"]
        (folder.parent / "mac.key").write_text("00" * 32 + "\n")
    if vkey:
        words += ["--key", vkey]
    if older:
        words += ["--against", older]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    ours = json.loads(done.stdout)
    second = Log(folder, vkey and vkey.read_text(), older and older.read_text(), bytes(32) if macs else None).verdict()
    assert {k: ours[k] for k in FIELDS} == {k: second[k] for k in FIELDS}, (ours, second)
    assert done.returncode == (0 if ours["ok"] else 1)
    return ours


def bundle(folder, name):
    return frames_of((folder / name).read_bytes())[0]


def write_bundle(folder, name, records):
    (folder / name).write_bytes(b"".join(len(r).to_bytes(2, "big") + r for r in records))


def test_whole_log_holds(whole):
    assert judge(whole)["ok"]
    verdict = judge(whole, macs=True, vkey=whole / "log.vkey", older=whole / "checkpoint")
    assert verdict["ok"] and verdict["authorship"] and verdict["records"] == COUNT


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/entries/001", "wal/002", "tile/0/000", "tile/0/001", "mac",
                                  "checkpoint", "log.vkey"])
def test_changed_bytes(log, name):
    path, chance = log / name, random.Random(name)
    good = path.read_bytes()
    # The borders and a seeded sample; the unit tests of C++ change every byte.
    places = {0, 1, 2, len(good) - 1, len(good) // 2} | {chance.randrange(len(good)) for _ in range(20)}
    for place in sorted(places):
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        assert judge(log)["ok"] == (name == "mac"), (name, place)  # the MACs are seen with their key alone
        assert not judge(log, macs=True)["ok"], (name, place)
    for size in (0, 1, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        assert not judge(log)["ok"], (name, size)
    path.write_bytes(good + b"x")
    assert not judge(log)["ok"] or name == "mac"
    path.unlink()
    assert not judge(log)["ok"]


@pytest.mark.parametrize("name,first", [("tile/entries/000", 0), ("tile/entries/001", 256), ("wal/002", 512)])
def test_moved_records(log, name, first):
    good = bundle(log, name)
    swapped = good[:]
    swapped[10], swapped[20] = swapped[20], swapped[10]
    for records, expected in [(swapped, 10), (good[:30] + good[31:], 30), (good[:40] + [good[3]] + good[40:], 40),
                              (good[:50] + [good[49]] + good[51:], 50), (good[:5] + [b"{}"] + good[6:], 5)]:
        write_bundle(log, name, records)
        assert judge(log)["first_bad"] == first + expected
        assert judge(log, macs=True)["first_bad"] == first + expected


def test_rewritten_tail(log):
    """A right chain over changed records: the root denies it, and the MACs name where it begins."""
    import hashlib
    records, prev = [], None
    for data in bundle(log, "wal/002"):
        record = json.loads(data)
        if record["seq"] == 540:
            record["object"] = "something else"
        if prev:
            record["prev"] = prev
        data = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        prev = hashlib.sha256(b"\0" + data).hexdigest()
        records.append(data)
    write_bundle(log, "wal/002", records)
    verdict = judge(log)
    assert not verdict["ok"] and verdict["bad_from"] <= 540 < verdict["bad_to"]
    assert judge(log, macs=True)["first_bad"] == 540


def test_files_moved_added_and_missing(log):
    for name in ("wal/003", "wal/000", "tile/entries/002", "tile/entries/900", "tile/0/002", "note", "wal/002.old"):
        (log / name).write_bytes(b"\0\1x")
        assert not judge(log)["ok"], name
        (log / name).unlink()
    for one, other in (("tile/entries/000", "tile/entries/001"), ("tile/0/000", "tile/0/001")):
        a, b = (log / one).read_bytes(), (log / other).read_bytes()
        (log / one).write_bytes(b)
        (log / other).write_bytes(a)
        assert judge(log)["first_bad"] == 0
        (log / one).write_bytes(a)
        (log / other).write_bytes(b)
    assert judge(log)["ok"]


def test_two_faults(log):
    entries, tile = log / "tile/entries/000", log / "tile/0/001"
    data = bytearray(entries.read_bytes())
    data[len(data) // 2] ^= 1
    entries.write_bytes(data)
    data = bytearray(tile.read_bytes())
    data[500] ^= 1
    tile.write_bytes(data)
    assert judge(log)["first_bad"] < 256


def test_cut_back_and_foreign_logs(whole, log, tmp_path):
    later = tmp_path / "later"
    shutil.copytree(whole, later)
    shutil.copy(whole.parent / "keys", tmp_path / "keys")
    subprocess.run([BIN / "audit_log_helper", later, tmp_path / "keys", "9000", "30"], check=True,
                   stdout=subprocess.DEVNULL)
    assert judge(later, older=whole / "checkpoint", macs=True)["ok"]
    assert judge(log)["ok"]  # what a thief puts back holds by itself
    assert not judge(log, older=later / "checkpoint")["ok"]
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run([BIN / "audit_log_helper", other, tmp_path / "other-keys", "5", "10"], check=True,
                   stdout=subprocess.DEVNULL)
    assert not judge(other, older=whole / "checkpoint")["ok"]
