#!/usr/bin/env python3
"""Prints line coverage by group and file from gcovr's JSON summary; exit code 1 when a group is below its floor.

    coverage_report.py SUMMARY.json GROUPS
"""
import json
import re
import sys


def main(summary_path, groups_path):
    files = json.load(open(summary_path))["files"]
    below = []
    for line in open(groups_path):
        words = line.split()
        if not words or words[0] != "group":
            continue
        name, floor, patterns = words[1], float(words[2]), words[3:]
        mine = [file for file in files if any(re.match(pattern, file["filename"]) for pattern in patterns)]
        total = sum(file["line_total"] for file in mine)
        covered = sum(file["line_covered"] for file in mine)
        if total == 0:
            print(f"{name}: no file matches")
            below.append(name)
            continue
        share = 100 * covered / total
        print(f"{name:18} {share:6.2f} % of {total} lines (floor {floor:g} %)")
        for file in sorted(mine, key=lambda one: one["line_covered"] - one["line_total"]):
            if file["line_covered"] < file["line_total"]:
                print(f"    {file['line_total'] - file['line_covered']:5} not run in {file['filename']} ({file['line_percent']:.1f} %)")
        if share < floor:
            below.append(name)
    if below:
        print("below the floor: " + ", ".join(below))
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
