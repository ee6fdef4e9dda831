#!/usr/bin/env python3
"""Verifies an Ostal audit log: a second implementation, for auditors, made from the format alone.

    audit_verify.py DIR [--key VKEYFILE] [--against OLD.checkpoint] [--mac-key FILE]

Prints a JSON verdict and exits with 0 (holds), 1 (does not) or 2 (usage). It needs Python 3.11 and the package
`cryptography` (Ed25519). Formats: c2sp.org/signed-note, c2sp.org/tlog-tiles, RFC 6962, RFC 8785.
"""
import argparse, base64, hashlib, hmac, itertools, json, pathlib, re, sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ZERO = bytes(32)
TEXTS = "id actor auth ip role tenant action object decision model model_digest detail pair t prev".split()
NUMBERS = "v seq boottime approvals policy_version tokens_in tokens_out status".split()
HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff"
                     "\ufff9-\ufffb\U000e0000-\U000e0fff]")


def sha(data):
    return hashlib.sha256(data).digest()


def root_of(leaves):
    """RFC 6962 section 2.1 over leaf hashes."""
    if not leaves:
        return sha(b"")
    level = list(leaves)
    while len(level) > 1:  # an odd last node rises as it is: the same tree as the split at a power of two
        pairs = [sha(b"\x01" + a + b) for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(pairs) * 2:]
    return level[0]


def read_key(text):
    name, key_id, typed = text.removesuffix("\n").split("+", 2)
    raw = base64.b64decode(typed, validate=True)
    if not re.fullmatch(r"[\x21-\x2a\x2c-\x7e]{1,128}", name) or len(raw) != 33 or raw[0] != 1:
        raise ValueError("not a verifier key")
    if sha(name.encode() + b"\n" + raw)[:4].hex() != key_id or base64.b64encode(raw).decode() != typed:
        raise ValueError("not a verifier key")
    return name, raw


def open_note(text, key):
    """(size, root) of a checkpoint signed by `key`."""
    name, raw = key
    body, _, lines = text.partition("\n\n")
    origin, size, root = body.split("\n")
    if origin != name or not re.fullmatch("0|[1-9][0-9]*", size) or not lines.endswith("\n"):
        raise ValueError("not a checkpoint of this log")
    digest = base64.b64decode(root, validate=True)
    if len(digest) != 32 or base64.b64encode(digest).decode() != root:
        raise ValueError("its root is malformed")
    good = 0
    for line in lines[:-1].split("\n"):
        dash, signer, encoded = line.split(" ")
        signed = base64.b64decode(encoded, validate=True)
        if dash != "\u2014" or len(signed) < 5 or base64.b64encode(signed).decode() != encoded:
            raise ValueError("a signature line is malformed")
        if signer == name and signed[:4] == sha(name.encode() + b"\n" + raw)[:4]:
            Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signed[4:], (body + "\n").encode())
            good += 1
    if good != 1:
        raise ValueError("it has not one signature of the log's key")
    return int(size), digest


def frames_of(data):
    records, at = [], 0
    while len(records) < 256 and len(data) - at >= 2:
        length = int.from_bytes(data[at:at + 2], "big")
        if length == 0 or length > len(data) - at - 2:
            break
        records.append(data[at + 2:at + 2 + length])
        at += 2 + length
    return records, at


def no_duplicates(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a duplicate member")
    return dict(pairs)


def parse_record(data):
    """The record as a dict, or None unless it is canonical and complete."""
    try:
        text = data.decode()
        record = json.loads(text, object_pairs_hook=no_duplicates)
        canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        good = (canonical == text and set(record) == set(TEXTS + NUMBERS) and record["v"] == 1 and len(data) <= 60000
                and all(type(record[k]) is str and not HARMFUL.search(record[k]) for k in TEXTS)
                and all(type(record[k]) is int and 0 <= record[k] < 2**53 for k in NUMBERS)
                and record["pair"] in ("event", "request", "response") and re.fullmatch("[0-9a-f]{64}", record["prev"])
                and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["t"]))
        return record if good else None
    except (ValueError, TypeError):
        return None


def tile_path(number):
    digits = f"{number % 1000:03d}"
    while number := number // 1000:
        digits = f"x{number % 1000:03d}/{digits}"
    return digits


class Log:
    def __init__(self, folder, vkey=None, older=None, mac_key=None):
        self.folder, self.problems, self.bad, self.range = pathlib.Path(folder), [], [], None
        self.size, self.root, self.resolved = None, None, None
        self.load_key(vkey)
        self.load_files()
        self.resolve()
        self.judge_records()
        self.judge_tiles()
        self.judge_tail()
        self.judge_macs(mac_key)
        if older is not None:
            self.judge_older(older)

    def small(self, name):
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def load_key(self, vkey):
        self.key, own = None, self.small("log.vkey")
        try:
            if not own.endswith(b"\n"):
                raise ValueError("it has no line end")
            self.key = read_key(own.decode())
        except (ValueError, AttributeError) as error:
            self.problems.append(f"log.vkey: {error}")
        if vkey is not None:
            given = read_key(vkey)
            if self.key not in (None, given):
                self.problems.append("log.vkey is not the given key")
            self.key = given
        try:
            if self.key:
                self.size, self.root = open_note(self.small("checkpoint").decode(), self.key)
        except (ValueError, AttributeError, InvalidSignature) as error:
            self.problems.append(f"checkpoint: {error}")
        if self.small("checkpoint") is None:
            self.problems.append("there is no checkpoint")

    def load_files(self):
        bundles, tiles = {}, {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            kind = re.fullmatch(r"(wal|tile/entries|tile/[0-7])/((?:x\d{3}/)*\d{3})", name)
            number = kind and int(re.sub("[x/]", "", kind[2]))
            if path.is_dir() and not path.is_symlink() and re.fullmatch(r"wal(/x\d{3})*|tile(/(entries|\d)(/x\d{3})*)?", name):
                continue
            if path.is_symlink() or not (name in ("mac", "checkpoint", "log.vkey", "reserve") or name.endswith(".new")
                                         or (kind and tile_path(number) == kind[2])):
                self.problems.append(f"{name} belongs to no audit log")
            elif kind and kind[1] in ("wal", "tile/entries"):
                if number in bundles:
                    self.problems.append(f"{name} exists twice")
                if number not in bundles or kind[1] == "tile/entries":
                    bundles[number] = path
            elif kind and kind[1] == "tile/0":
                tiles[number] = path
        self.records = []
        for number, path in sorted(bundles.items()):
            is_open = "wal" == path.relative_to(self.folder).parts[0]
            if number > len(bundles) + len(tiles) or (is_open and number != max(bundles)):
                self.problems.append(f"{path} lies out of order")
                continue
            data = path.read_bytes()
            records, used = frames_of(data)
            self.records += [None] * (number * 256 - len(self.records)) + records
            if used != len(data) or (not is_open and len(records) != 256):
                self.problems.append(f"{path} does not hold whole records")
        self.tiles = {}
        for number, path in tiles.items():
            data = path.read_bytes()
            if len(data) != 8192 or number > len(self.records) // 256 + 1:
                self.problems.append(f"{path} is no full tile of this log")
            elif (number + 1) * 256 <= (self.size or 0):
                self.tiles.update({number * 256 + i: data[32 * i:32 * i + 32] for i in range(256)})
        if self.tiles:
            self.records += [None] * (max(self.tiles) + 1 - len(self.records))
        self.leaves = [None if r is None else sha(b"\x00" + r) for r in self.records]
        self.parsed = [None if r is None else parse_record(r) for r in self.records]
        self.placed = [p is not None and p["seq"] == i for i, p in enumerate(self.parsed)]
        self.chain = [bytes.fromhex(self.parsed[i + 1]["prev"]) if i + 1 < len(self.records) and self.placed[i + 1] else None
                      for i in range(len(self.records))]

    def resolve(self):
        """Leaves that hash to the signed root, from the witnesses: tile, chain, the record itself."""
        if self.size is None or self.size > len(self.records):
            return
        witnesses = [list(dict.fromkeys(w for w in (self.tiles.get(i), self.chain[i], self.leaves[i]) if w))
                     for i in range(self.size)]
        if not all(witnesses):
            return
        if None not in self.leaves[:self.size] and root_of(self.leaves[:self.size]) == self.root:
            self.resolved = self.leaves[:self.size]
        elif sum(len(w) > 1 for w in witnesses) <= 8:
            for choice in itertools.product(*witnesses):
                if root_of(choice) == self.root:
                    self.resolved = list(choice)
                    return
        else:
            first = [w[0] for w in witnesses]
            self.resolved = first if root_of(first) == self.root else None

    def judge_records(self):
        covered = range(min(self.size or 0, len(self.records)))
        if self.resolved is not None:
            self.bad += [i for i in covered if self.leaves[i] != self.resolved[i]][:1]
            if not self.bad:
                self.bad += [i for i in covered if not (self.placed[i] and bytes.fromhex(self.parsed[i]["prev"])
                                                        == (self.leaves[i - 1] if i else ZERO))][:1]
            return
        for i in covered:
            if self.leaves[i] is None or not self.placed[i] or self.tiles.get(i, self.leaves[i]) != self.leaves[i]:
                self.bad.append(i)
                return
            if self.chain[i] not in (None, self.leaves[i]):
                self.range = [i, min(i + 2, self.size)]
                return
        if self.size is not None and self.size > len(self.records):
            self.bad.append(len(self.records))
        elif self.size is not None:
            self.range = [self.size - self.size % 256, self.size]

    def judge_tiles(self):
        leaves = self.resolved if self.resolved is not None else self.leaves[:self.size or 0]
        if self.size is None or self.size > len(self.records) or None in leaves:
            return
        level, reach, hashes = 0, 1, leaves
        while len(hashes) >= 256:
            for number in range(len(hashes) // 256):
                data, expected = self.small(f"tile/{level}/{tile_path(number)}"), b"".join(hashes[number * 256:][:256])
                if level == 0 and data is not None and len(data) == 8192 and data != expected:
                    self.bad.append(next(number * 256 + i for i in range(256) if data[32 * i:][:32] != expected[32 * i:][:32]))
                elif data != expected:
                    self.problems.append(f"tile/{level}/{number} is not the tile of its records")
                    self.range = self.range or [number * 256 * reach, (number + 1) * 256 * reach]
            hashes = [root_of(hashes[i:i + 256]) for i in range(0, len(hashes) - 255, 256)]
            level, reach = level + 1, reach * 256

    def judge_tail(self):
        for i in range(self.size or 0, len(self.records)):
            before = self.leaves[i - 1] if i else ZERO
            if not self.placed[i] or bytes.fromhex(self.parsed[i]["prev"]) != before:
                self.bad.append(i)
                return

    def judge_macs(self, key):
        macs = self.small("mac") or b""
        if len(macs) // 32 < (self.size or 0) or len(macs) > 32 * len(self.records):
            self.problems.append("the file mac does not fit the records")
        for i in range(min(len(macs) // 32, len(self.records))) if key else ():
            if self.leaves[i] is None:
                return
            for attempt in range(2):  # the key goes on by at most one step from record to record
                if hmac.compare_digest(hmac.digest(key, self.leaves[i], "sha256"), macs[32 * i:32 * i + 32]):
                    break
                key = hmac.digest(key, b"next", "sha256") if attempt == 0 else key
            else:
                self.bad.append(i)
                return

    def judge_older(self, text):
        try:
            size, root = open_note(text, self.key)
        except (ValueError, TypeError, InvalidSignature) as error:
            self.problems.append(f"the older checkpoint: {error}")
            return
        leaves = self.resolved if self.resolved is not None else self.leaves
        if self.size is None or size > self.size or None in leaves[:size] or root_of(leaves[:size]) != root:
            self.problems.append("the log is no extension of the older checkpoint")

    def verdict(self):
        bad = min(self.bad, default=None)
        bad_from, bad_to = (self.range or [0, 0]) if bad is None else [0, 0]
        return {"ok": not (self.problems or self.bad or self.range), "records": len(self.records), "first_bad": bad,
                "checkpoint_size": self.size or 0, "bad_from": bad_from, "bad_to": bad_to, "problems": self.problems}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    for name in ("--key", "--against", "--mac-key"):
        parser.add_argument(name, type=pathlib.Path)
    given = parser.parse_args()
    mac_key = given.mac_key and bytes.fromhex(given.mac_key.read_text().strip())
    verdict = Log(given.folder, given.key and given.key.read_text(), given.against and given.against.read_text(),
                  mac_key).verdict()
    print(json.dumps(verdict))
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
