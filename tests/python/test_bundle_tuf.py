"""Bundles made by ostal-bundle, read by python-tuf: metadata, signatures, key ids, and a whole client refresh.

Packages: scripts/requirements.txt (tuf, securesystemslib). OSTAL_BIN_DIR names the folder of the programs.
"""

import hashlib
import json
import os
import pathlib
import subprocess

import pytest
from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("OSTAL_BIN_DIR", SOURCE / "build/dev/bin"))
MODEL = SOURCE / "models/ostal-mini"


def ostal_bundle(*words, code=0):
    """Runs the tool and returns what it printed as JSON."""
    done = subprocess.run([BIN / "ostal-bundle", *map(str, words), "-o", "json"], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else None


class FolderFetcher(FetcherInterface):
    """Reads file:// addresses; an absent file is a 404, as the client expects at the end of the root chain."""

    def _fetch(self, url):
        path = pathlib.Path(url.removeprefix("file://"))
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        yield path.read_bytes()


def make_updater(bundle, folder, root):
    (folder / "metadata").mkdir(parents=True)
    (folder / "targets").mkdir()
    return Updater(
        metadata_dir=str(folder / "metadata"),
        metadata_base_url=f"file://{bundle}/metadata/",
        target_dir=str(folder / "targets"),
        target_base_url=f"file://{bundle}/targets/",
        fetcher=FolderFetcher(),
        config=UpdaterConfig(prefix_targets_with_hash=True),
        bootstrap=root.read_bytes(),
    )


@pytest.fixture
def bundle(tmp_path):
    """A bundle of ostal-mini whose targets need two keys, after one rotation of the root."""
    old, release, second = (tmp_path / f"{name}.pem" for name in ("old", "release", "second"))
    for key in (old, release, second):
        ostal_bundle("keygen", "--out", key)
    first_root, next_root, out = tmp_path / "1.root.json", tmp_path / "2.root.json", tmp_path / "medium"
    ostal_bundle("root", "--key", old, "--out", first_root)
    rotated = ostal_bundle(
        "root", "--previous", first_root, "--key", old, "--key", release, "--role", f"all={release}",
        "--role", f"targets={release},{second}", "--threshold", "targets=2", "--out", next_root)
    assert rotated["complete"] and rotated["version"] == 2
    made = ostal_bundle(
        "create", "--model", MODEL, "--name", "ostal-mini", "--version", 1, "--format", "v3", "--license",
        "Apache-2.0", "--default-system", 'A "quoted" back\\slash,\nünïcode', "--key", release, "--root", first_root,
        "--root", next_root, "--out", out)
    assert not made["complete"]
    ostal_bundle("verify", out, "--trust", first_root, code=7)
    assert not ostal_bundle("sign", out, "--key", second)["complete"], "the lists are of before"
    assert ostal_bundle("sign", out, "--key", release)["complete"]
    ostal_bundle("verify", out, "--trust", first_root)
    return out, first_root


def read(bundle, name):
    return Metadata.from_file(str(next((bundle / "metadata").glob(name))))


def test_signatures_and_key_ids(bundle):
    folder, _ = bundle
    first, root = read(folder, "1.root.json"), read(folder, "2.root.json")
    assert isinstance(root.signed, Root)
    first.verify_delegate("root", first)
    first.verify_delegate("root", root)
    for role, name, kind in (
        ("root", "2.root.json", Root),
        ("timestamp", "timestamp.json", Timestamp),
        ("snapshot", "*.snapshot.json", Snapshot),
        ("targets", "*.targets.json", Targets),
    ):
        metadata = read(folder, name)
        assert isinstance(metadata.signed, kind)
        assert not metadata.signed.unrecognized_fields and not metadata.unrecognized_fields
        root.verify_delegate(role, metadata)
    for key_id, key in root.signed.keys.items():
        canonical = encode_canonical({"keytype": key.keytype, "scheme": key.scheme, "keyval": key.keyval})
        assert hashlib.sha256(canonical.encode()).hexdigest() == key_id


def test_client_refresh_and_download(bundle, tmp_path):
    folder, root = bundle
    updater = make_updater(folder, tmp_path / "client", root)
    updater.refresh()
    for source in sorted(MODEL.iterdir()):
        info = updater.get_targetinfo(f"models/ostal-mini/1/{source.name}")
        assert info is not None and info.length == source.stat().st_size
        assert info.custom["format"] == "v3" and info.custom["version"] == 1
        assert info.custom["default_system"] == 'A "quoted" back\\slash,\nünïcode'
        got = updater.download_target(info, str(tmp_path / source.name))
        assert pathlib.Path(got).read_bytes() == source.read_bytes()


def test_chunk_root_is_the_rfc6962_root_over_mebibytes(bundle):
    folder, _ = bundle
    targets = read(folder, "*.targets.json").signed.targets

    def tree(leaves):
        if len(leaves) == 1:
            return leaves[0]
        split = 1 << ((len(leaves) - 1).bit_length() - 1)
        return hashlib.sha256(b"\1" + tree(leaves[:split]) + tree(leaves[split:])).digest()

    for source in MODEL.iterdir():
        data = source.read_bytes()
        leaves = [hashlib.sha256(b"\0" + data[at : at + (1 << 20)]).digest() for at in range(0, len(data), 1 << 20)]
        custom = targets[f"models/ostal-mini/1/{source.name}"].unrecognized_fields["custom"]
        assert custom["chunk_root"] == tree(leaves).hex()


def test_client_refuses_an_altered_file(bundle, tmp_path):
    folder, root = bundle
    targets = next((folder / "metadata").glob("*.targets.json"))
    targets.write_bytes(targets.read_bytes().replace(b"Apache-2.0", b"Apache-2.1"))
    with pytest.raises(RepositoryError):
        make_updater(folder, tmp_path / "client", root).refresh()
    ostal_bundle("verify", folder, "--trust", root, code=7)
