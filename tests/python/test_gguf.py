"""GGUF files against the PyPI package gguf: every block type that is read, and what `ostal-engine convert` writes."""
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from test_engine_golden import BIN, MINI, TOOLS, check_logits, engine, golden, joined, smollm2  # noqa: F401 (a fixture)

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")
Type = gguf.GGMLQuantizationType

QUANTISED_BY_GGUF = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
# Of the others the blocks are random bytes; the f16 scales (place: value) make values of about 1/16.
SCALES = {"Q4_K": {0: 4e-4, 2: 3e-3}, "Q5_K": {0: 2e-4, 2: 3e-3}, "Q6_K": {208: 6e-5}}


def tool(name, *words):
    done = subprocess.run([sys.executable, str(TOOLS / name), *map(str, words)], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def reference_logits(model, ids, folder):
    """Of the numpy forward pass over what the package gguf reads in the file."""
    tool("gguf_to_hf.py", model, folder)
    return [entry["top"] for entry in json.loads(tool("reference.py", folder, "--ids", joined(ids), "--top", 2, "--json"))]


def blocks_of(kind, values, random):
    if kind.name in QUANTISED_BY_GGUF:
        return gguf.quants.quantize(values, kind)
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = values.reshape(-1, values.shape[-1]).shape
    blocks = random.integers(0, 256, (rows * columns // per_block, size), dtype=numpy.uint8)
    for at, scale in SCALES[kind.name].items():
        blocks[:, at:at + 2] = numpy.frombuffer(numpy.float16(scale).tobytes(), numpy.uint8)
    return blocks.reshape(*values.shape[:-1], columns // per_block * size)


def rewrite(source, out, kind):
    """The file with its matrices (but for the routers) in another type."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub)
    random = numpy.random.default_rng(1)
    for tensor in reader.tensors:
        values = numpy.array(tensor.data)
        if values.ndim < 2 or "ffn_gate_inp" in tensor.name:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, blocks_of(kind, values, random), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    """A small mixture whose rows are whole blocks of 256."""
    path = tmp_path_factory.mktemp("wide") / "model.gguf"
    tool("make_model.py", "--preset", "micro", "--dim", 256, "--ffn", 256, "--heads", 4, "--kv-heads", 2, "--head-dim", 64,
         "--seed", 3, "--tokenizer", MINI / "tokenizer.model", "--gguf", path, "--f32")
    return path


@pytest.mark.parametrize("kind", QUANTISED_BY_GGUF + list(SCALES))
def test_every_type_gives_the_reference_logits(tmp_path, wide_model, kind):
    model = tmp_path / "model.gguf"
    rewrite(wide_model, model, Type[kind])
    ids = [1] + [(i * 7919) % 1500 + 10 for i in range(20)]
    expected = reference_logits(model, ids, tmp_path / "hf")
    check_logits(json.loads(engine("logits", "--model", model, "--ids", joined(ids), "--top", 2)), expected)


def convert(source, quantize, out, *more, code=0):
    return engine("convert", "--model", source, "--quantize", quantize, "--out", out, *more, code=code)


def values_of(tensor):
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape([int(n) for n in tensor.shape[::-1]])


def bf16_tensors(folder):
    raw = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    data = numpy.frombuffer(raw, numpy.uint8, offset=8 + size)
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            bits = data[begin:end].copy().view(numpy.uint16).astype(numpy.uint32) << 16
            yield name, bits.view(numpy.float32).reshape(entry["shape"])


@pytest.mark.parametrize("quantize,kind,error", [("q8", "Q8_0", 0.5 / 127), ("q4", "Q4_0", 1 / 8)])
def test_converted_ostal_mini(tmp_path, quantize, kind, error):
    out = tmp_path / "mini.gguf"
    report = json.loads(convert(MINI, quantize, out))
    assert report["bytes"] == out.stat().st_size
    assert "exists" in convert(MINI, quantize, out, code=1)

    reader = gguf.GGUFReader(out)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "llama" and fields["general.file_type"] == {"q8": 7, "q4": 2}[quantize]
    assert fields["llama.expert_count"] == 8 and fields["llama.attention.head_count_kv"] == 2
    assert len(fields["tokenizer.ggml.tokens"]) == len(fields["tokenizer.ggml.scores"]) == 8192
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == 3 + 6 * 10
    for name, tensor in tensors.items():
        small = tensor.data.ndim == 1 or "ffn_gate_inp" in name or "norm" in name
        ends = name in ("token_embd.weight", "output.weight")
        assert tensor.tensor_type.name == ("F32" if small else "Q8_0" if ends else kind), name
    assert list(tensors["blk.0.ffn_down_exps.weight"].shape) == [384, 256, 8]

    # Every value within the error of its block: half a step, in q4 a whole one on one side.
    tool("gguf_to_hf.py", out, tmp_path / "hf")
    raw = (tmp_path / "hf" / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + size])
    for name, values in bf16_tensors(MINI):
        begin, end = head[name]["data_offsets"]
        found = numpy.frombuffer(raw[8 + size + begin:8 + size + end], numpy.float32).reshape(values.shape)
        small = values.ndim == 1 or name.endswith("block_sparse_moe.gate.weight")
        ends = name in ("model.embed_tokens.weight", "lm_head.weight")
        if small:
            assert (found == values).all(), name
            continue
        blocks = numpy.abs(values).reshape(-1, 32).max(1, keepdims=True)
        bound = blocks * (0.5 / 127 if ends else error) * 1.002 + 1e-7
        assert (numpy.abs(found - values).reshape(-1, 32) <= bound).all(), name

    case = golden("logits-ostal-mini")["cases"][0]
    ids = case["prompt_ids"] + case["greedy_ids"][:20]
    expected = [entry["top"] for entry in json.loads(tool("reference.py", tmp_path / "hf", "--ids", joined(ids), "--top", 2,
                                                          "--json"))]
    check_logits(json.loads(engine("logits", "--model", out, "--ids", joined(ids), "--top", 2)), expected)
    for text in ("What is a violin?", "  two  spaces\n\u00e9 \u65e5\u672c [INST] 1234"):
        assert engine("tokenize", "--model", out, stdin=text) == engine("tokenize", "--model", MINI, stdin=text)


def test_a_gguf_is_converted_with_its_metadata(tmp_path, smollm2):  # noqa: F811
    out = tmp_path / "smol.gguf"
    convert(smollm2, "q8", out)
    source, made = gguf.GGUFReader(smollm2), gguf.GGUFReader(out)
    before, after = ({name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
                     for reader in (source, made))
    ours = {"general.file_type", "general.quantization_version", "general.alignment"}
    kept = {name: value for name, value in before.items() if name not in ours and not name.startswith("quantize.")}
    assert {name: value for name, value in after.items() if name not in ours} == kept
    for case in golden("text-smollm2")["cases"][::12]:
        assert json.loads(engine("tokenize", "--model", out, stdin=case["text"])) == case["ids"]
    originals = {tensor.name: tensor for tensor in source.tensors}
    for tensor in made.tensors:
        exact, found = values_of(originals[tensor.name]), values_of(tensor)
        bound = numpy.abs(exact).reshape(-1, 32).max(1, keepdims=True) * (0.5 / 127) * 1.002 + 1e-7
        assert (numpy.abs(found - exact).reshape(-1, 32) <= bound).all(), tensor.name


def test_a_full_disk_leaves_nothing(tmp_path):
    """A file limit stands for the disk: the space is reserved before anything is written."""
    folder = tmp_path / "out"
    folder.mkdir()
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run([str(BIN / "ostal-engine"), "convert", "--model", str(MINI), "--quantize", "q8", "--out",
                           str(folder / "m.gguf")], capture_output=True, timeout=300, preexec_fn=limited)
    assert done.returncode == 1 and done.stderr
    assert os.listdir(folder) == []
