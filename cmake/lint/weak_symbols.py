#!/usr/bin/env python3
"""Lint: object files built with an ISA's flags define no weak symbols.

usage: weak_symbols.py BUILD_DIR

The linker keeps one copy of a weak symbol (an inline function, a template) for the whole program. If that
copy was compiled with AVX2 or AVX-512, an older CPU crashes in code that has nothing to do with kernels.
"""
import pathlib, subprocess, sys

build = pathlib.Path(sys.argv[1]).resolve()
objects = [p for p in build.rglob("*.o") if p.name.startswith(("kernels_", "gemm_", "attention_"))
           and "backend" in str(p) and "_test" not in p.name]
bad = 0
for path in sorted(objects):
    listing = subprocess.run(["nm", "-C", "--defined-only", str(path)], capture_output=True, text=True, check=True)
    weak = [line for line in listing.stdout.splitlines() if len(line.split()) > 1 and line.split()[1] in "WVu"]
    # DW.ref.* is the reference to the personality routine, data that no ISA changes.
    weak = [line for line in weak if "DW.ref." not in line]
    if weak:
        bad += 1
        print(f"{path.relative_to(build)}: {len(weak)} weak symbols, e.g.")
        print("\n".join("  " + line for line in weak[:10]))
print(f"{len(objects)} ISA objects, {bad} with weak symbols")
sys.exit(1 if bad or not objects else 0)
