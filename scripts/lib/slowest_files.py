#!/usr/bin/env python3
"""Prints the ten slowest build steps of a Ninja build folder, from its .ninja_log."""
import pathlib
import sys

steps = {}
for line in pathlib.Path(sys.argv[1], ".ninja_log").read_text().splitlines()[1:]:
    start, end, _, output, *_ = line.split("\t")
    steps[output] = (int(end) - int(start)) / 1000
for output, seconds in sorted(steps.items(), key=lambda item: -item[1])[:10]:
    print(f"  {seconds:6.1f} s  {output}")
