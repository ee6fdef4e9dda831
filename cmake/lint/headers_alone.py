#!/usr/bin/env python3
"""Lint: each header of ours compiles alone.

usage: headers_alone.py BUILD_DIR

Takes the include paths and definitions of any source of the same folder from compile_commands.json and
runs the compiler with -fsyntax-only on a file that includes the header and nothing else.
"""
import concurrent.futures, json, os, pathlib, re, shlex, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parents[2]
build = pathlib.Path(sys.argv[1]).resolve()
commands = json.load(open(build / "compile_commands.json"))


def flags_near(folder):
    """-I, -isystem, -D and -std of a source in `folder` or the nearest folder above that has one."""
    while True:
        for entry in commands:
            if pathlib.Path(entry["file"]).parent == folder and not entry["file"].endswith((".gch", ".c")):
                words = shlex.split(entry["command"])
                keep = [w for w in words if re.match(r"-(I|D|std=|m[a-z])", w) and not w.startswith("-MF")]
                for i, w in enumerate(words):
                    if w == "-isystem":
                        keep += ["-isystem", words[i + 1]]
                return keep
        if folder == root:
            return ["-std=c++20", f"-I{root}"]
        folder = folder.parent


def check(header):
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(f'#include "{header.relative_to(root)}"\n')
        source.flush()
        run = subprocess.run(["g++", "-fsyntax-only", "-x", "c++", "-w", *flags_near(header.parent), f"-I{root}",
                              source.name], capture_output=True, text=True)
    return header, run.returncode, run.stderr


headers = sorted(p for top in ("base", "engine", "security", "appliance") for p in (root / top).rglob("*.h"))
headers = [h for h in headers if not h.name.endswith("_inl.h")]
bad = 0
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for header, code, errors in pool.map(check, headers):
        if code != 0:
            bad += 1
            print(f"{header.relative_to(root)} does not compile alone:\n{errors}")
print(f"{len(headers)} headers, {bad} that do not compile alone")
sys.exit(1 if bad or not headers else 0)
