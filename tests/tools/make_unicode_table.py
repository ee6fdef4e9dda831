#!/usr/bin/env python3
"""Writes engine/tokenizer/unicode_table.inc from the Unicode data of the running Python.

  make_unicode_table.py > engine/tokenizer/unicode_table.inc

Python 3.11 (Debian 12) carries Unicode 14.0, as does PCRE2 10.42, which the pre-tokenizer's tests use as oracle.
"""
import sys
import unicodedata

# PropList.txt, White_Space; unchanged since Unicode 6.3.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}

CLASSES = {"Lu": "kUpper", "Lt": "kUpper", "Ll": "kLower", "Lm": "kLetter", "Lo": "kLetter",
           "Mn": "kMark", "Mc": "kMark", "Me": "kMark", "Nd": "kNumber", "Nl": "kNumber", "No": "kNumber"}


def char_class(point):
    if point in WHITE_SPACE:
        return "kSpace"
    return CLASSES.get(unicodedata.category(chr(point)), "kOther")


ranges = []
for point in range(0x110000):
    name = char_class(point)
    if not ranges or ranges[-1][1] != name:
        ranges.append((point, name))

out = sys.stdout
out.write("// Written by tests/tools/make_unicode_table.py from Unicode %s: do not edit.\n" % unicodedata.unidata_version)
out.write("// First code point of each range | its class << 24 (CharClass in unicode.h).\n")
order = ["kOther", "kUpper", "kLower", "kLetter", "kMark", "kNumber", "kSpace"]
line = ""
for start, name in ranges:
    item = "0x%07x," % (order.index(name) << 24 | start)
    if len(line) + len(item) > 100:
        out.write(line + "\n")
        line = ""
    line += item
out.write(line + "\n")
