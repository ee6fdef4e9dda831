"""POST /v1/embeddings against a real daemon and the reference forward pass."""
import base64
import json
import math
import pathlib
import struct
import subprocess
import sys

import pytest

import appliance as harness

PATH = "/v1/embeddings"
TOOLS = pathlib.Path(__file__).parents[1] / "tools"
IDS = [1, 345, 1200, 77, 4021, 5]


def embed(appliance, **fields):
    status, answer = appliance.post(PATH, **fields)
    assert status == 200, answer
    return [d["embedding"] for d in answer["data"]]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_they_are_the_references(appliance):
    found = embed(appliance, input=IDS)[0]
    reference = subprocess.run([sys.executable, str(TOOLS / "reference.py"), str(harness.MINI), "--embedding",
                                "--ids", ",".join(map(str, IDS))], capture_output=True, text=True, check=True)
    assert len(found) == 256 and abs(sum(x * x for x in found) - 1) < 1e-5
    assert cosine(found, json.loads(reference.stdout)) > 0.9999


def test_shape_and_order(appliance):
    texts = [f"word number {i}" for i in range(40)]  # more than are submitted at once
    status, answer = appliance.post(PATH, input=texts)
    assert status == 200, answer
    assert answer["object"] == "list" and answer["id"].startswith("embd-") and answer["model"] == "ostal-mini"
    assert [d["index"] for d in answer["data"]] == list(range(40)) and {d["object"] for d in answer["data"]} == {"embedding"}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] > 40 and answer["usage"]["completion_tokens"] == 0
    for i in (0, 17, 39):
        assert embed(appliance, input=texts[i])[0] == answer["data"][i]["embedding"], "alone as together"
    assert embed(appliance, input=[IDS, IDS[:3]])[1] == embed(appliance, input=IDS[:3])[0]


def test_types_and_dimensions(appliance):
    full = embed(appliance, input=IDS)[0]
    packed = embed(appliance, input=IDS, encoding_format="base64")[0]
    floats = struct.unpack("<256f", base64.b64decode(packed))
    assert list(floats) == [struct.unpack("<f", struct.pack("<f", x))[0] for x in full]
    length = math.sqrt(sum(x * x for x in full[:16]))
    for name in ("output_dimension", "dimensions"):
        short = embed(appliance, input=IDS, **{name: 16})[0]
        assert short == pytest.approx([x / length for x in full[:16]], abs=1e-6)
    int8 = embed(appliance, input=IDS, output_dtype="int8")[0]
    assert max(abs(a - 127 * b) for a, b in zip(int8, full)) <= 0.5 + 1e-6
    assert embed(appliance, input=IDS, output_dtype="uint8")[0] == [x + 128 for x in int8]
    bits = embed(appliance, input=IDS, output_dtype="ubinary")[0]
    assert bits == [sum((full[8 * i + j] > 0) << (7 - j) for j in range(8)) for i in range(32)]
    assert embed(appliance, input=IDS, output_dtype="binary")[0] == [x - 128 for x in bits]
    assert base64.b64decode(embed(appliance, input=IDS, output_dtype="ubinary", encoding_format="base64")[0]) == bytes(bits)


@pytest.mark.parametrize("fields,status,param", [
    (dict(), 422, "input"),
    (dict(input=[]), 422, "input"),
    (dict(input=""), 422, "input"),
    (dict(input=["a"] * 2049), 422, "input"),
    (dict(input=[8192]), 422, "input"),
    (dict(input="a", dimensions=257), 422, "output_dimension"),
    (dict(input="a", output_dtype="float64"), 422, "output_dtype"),
    (dict(input=["a", "word " * 3000]), 400, "input"),
])
def test_refusals_name_the_field(appliance, fields, status, param):
    got, answer = appliance.post(PATH, **fields)
    assert got == status and answer["param"] == param, answer
    if status == 400:
        assert answer["code"] == "context_length_exceeded" and "1024" in answer["message"] and "3" in answer["message"]


def test_a_pair_of_records_in_the_audit(appliance):
    embed(appliance, input="A violin")
    records = [r for r in appliance.audit_records() if r["action"] == "inference:embed" and r["decision"] == "allow"]
    assert [r["pair"] for r in records[-2:]] == ["request", "response"] and records[-1]["status"] == 200
