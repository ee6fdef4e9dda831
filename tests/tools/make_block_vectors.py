#!/usr/bin/env python3
"""Writes tests/vectors/gguf-blocks.json: blocks of each quantised GGUF type and the f32 values they stand for.

usage: make_block_vectors.py OUT.json        (needs the PyPI packages gguf and numpy)

Blocks are random bytes whose f16 scales are small numbers of both signs (a subnormal and a zero among them); what
they mean is what gguf.quants.dequantize says. Bytes and values (little-endian f32) are written as hexadecimal.
"""
import json, sys
import gguf, numpy
from gguf.constants import GGMLQuantizationType as T, GGML_QUANT_SIZES

SCALES_AT = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q4_K: [0, 2], T.Q5_K: [0, 2],
             T.Q6_K: [208]}
random = numpy.random.default_rng(20240611)
out = {"source": f"PyPI gguf {__import__('importlib.metadata').metadata.version('gguf')}, gguf.quants.dequantize", "types": {}}
for kind, places in SCALES_AT.items():
    values, size = GGML_QUANT_SIZES[kind]
    count = 6 if values == 32 else 3
    blocks = random.integers(0, 256, (count, size), dtype=numpy.uint8)
    for at in places:
        scales = random.uniform(-0.05, 0.05, count).astype(numpy.float16)
        if at == places[0]:
            scales[-1] = numpy.float16(3e-6)  # subnormal
        if values == 32 and at == places[0]:
            scales[-2] = 0
        blocks[:, at:at + 2] = scales.view(numpy.uint8).reshape(count, 2)
    meaning = gguf.quants.dequantize(blocks, kind).astype("<f4")
    assert numpy.isfinite(meaning).all() and meaning.size == count * values
    out["types"][kind.name.lower()] = [{"block": blocks[i].tobytes().hex(),
                                        "values": meaning.reshape(count, values)[i].tobytes().hex()}
                                       for i in range(count)]
with open(sys.argv[1], "w", encoding="ascii") as file:
    json.dump(out, file, indent=0)
    file.write("\n")
