#!/usr/bin/env python3
"""Runs every libFuzzer target of build/fuzz/bin for a while, starting from its kept corpus.

    run_fuzzers.py --seconds N [--jobs N] --out FOLDER [TARGET ...]

What a target finds new lies in FOLDER/<target>/corpus, what breaks it in FOLDER/<target>/crash-*: mend the cause and
keep the input in tests/fuzz/corpus/<target>. Prints runs, coverage and findings of each target; exit code 1 when there
is a finding or no target.
"""
import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "fuzz" / "bin"
CORPUS = ROOT / "tests" / "fuzz" / "corpus"


def fuzz(name, seconds, out):
    """(name, runs, coverage, findings, the log's end)"""
    folder = out / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    words = [BIN / f"fuzz_{name}", folder / "corpus", CORPUS / name, f"-max_total_time={seconds}", f"-artifact_prefix={folder}/",
             "-max_len=65536", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"]
    with open(folder / "log", "w+", errors="replace") as log:
        code = subprocess.run([str(word) for word in words], stdout=log, stderr=log, cwd=folder).returncode
        log.seek(0)
        text = log.read()
    runs = re.search(r"stat::number_of_executed_units:\s+(\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    findings = sorted(path.name for path in folder.iterdir() if re.match(r"(crash|leak|oom|timeout|slow-unit)-", path.name))
    if code != 0 and not findings:
        findings = [f"exit code {code}"]
    return name, int(runs.group(1)) if runs else 0, int(covered[-1]) if covered else 0, findings, text[-2000:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    names = options.targets or sorted(path.name.removeprefix("fuzz_") for path in BIN.glob("fuzz_*"))
    if not names:
        print(f"no fuzz target in {BIN}", file=sys.stderr)
        return 1
    out = options.out.resolve()
    broken = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, runs, covered, findings, end in pool.map(lambda one: fuzz(one, options.seconds, out), names):
            print(f"{name:18} {runs:>12} runs  {covered:>6} edges  {', '.join(findings) or 'no finding'}", flush=True)
            if findings:
                broken += 1
                print(end)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
