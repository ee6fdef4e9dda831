"""ostal-engine against golden values and against a plain numpy forward pass (tests/golden/README.md)."""
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("OSTAL_BIN_DIR", ROOT / "build" / "release" / "bin"))
GOLDEN = ROOT / "tests" / "golden"
TOOLS = ROOT / "tests" / "tools"
MINI = ROOT / "models" / "ostal-mini"
TOLERANCE = 1e-3  # on the log-probability of the best token, of a float32 path


def engine(*words, stdin="", code=0):
    done = subprocess.run([str(BIN / "ostal-engine"), *map(str, words)], input=stdin.encode(), capture_output=True,
                          timeout=300)
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr.decode()}"
    return done.stdout.decode() if code == 0 else done.stderr.decode()


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def joined(ids):
    return ",".join(map(str, ids))


@pytest.fixture(scope="session")
def smollm2():
    path = os.environ.get("OSTAL_SMOLLM2_GGUF")
    if not path:
        pytest.skip("OSTAL_SMOLLM2_GGUF does not name SmolLM2-135M-Instruct.Q4_1.gguf")
    return path


@pytest.fixture(scope="session")
def tokenizers():
    path = os.environ.get("OSTAL_TOKENIZERS")
    if not path:
        pytest.skip("OSTAL_TOKENIZERS does not name the folder of mistral-common's tokenizers")
    return pathlib.Path(path)


# ---- Log-probabilities and greedy answers ----

def check_logits(found, expected):
    """The best token of each position; where the reference has a clear one, its id too."""
    assert [entry["pos"] for entry in found] == list(range(len(expected)))
    for entry, reference in zip(found, expected):
        (best, logprob), (_, second) = reference[0], reference[1]
        assert abs(entry["top"][0][1] - logprob) <= TOLERANCE, entry["pos"]
        if logprob - second > 2 * TOLERANCE:
            assert entry["top"][0][0] == best, entry["pos"]


def check_case(model, case):
    ids = case["prompt_ids"] + case["greedy_ids"]
    found = json.loads(engine("logits", "--model", model, "--ids", joined(ids), "--top", 5))
    check_logits(found[:len(case["top5"])], case["top5"])


def check_greedy(model, case, *options):
    answer = json.loads(engine("generate", "--model", model, "--ids", joined(case["prompt_ids"]), "--max-tokens",
                               len(case["greedy_ids"]), "--json", *options))
    ties = [at for at, margin in enumerate(case["margin"]) if margin <= 2 * TOLERANCE]
    clear = ties[0] if ties else len(case["greedy_ids"])
    assert answer["ids"][:clear] == case["greedy_ids"][:clear]
    if not ties:
        assert answer["text"].strip() == case["greedy_text"].strip()


@pytest.mark.parametrize("index", range(len(golden("logits-ostal-mini")["cases"])))
def test_ostal_mini(index):
    case = golden("logits-ostal-mini")["cases"][index]
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": turn} for at, turn in enumerate(case["turns"])]
    prompt = engine("template", "--model", MINI, "--format", "v3", "--chat", stdin=json.dumps({"messages": messages}))
    assert json.loads(prompt) == case["prompt_ids"]
    check_case(MINI, case)
    check_greedy(MINI, case)


@pytest.mark.parametrize("index", range(len(golden("logits-smollm2")["cases"])))
def test_smollm2(smollm2, index):
    case = golden("logits-smollm2")["cases"][index]
    check_case(smollm2, case)
    check_greedy(smollm2, case)


def isa_or_skip(isa):
    """Options for an instruction set; skips where this CPU lacks it, for the reason the engine gives."""
    done = subprocess.run([str(BIN / "ostal-engine"), "logits", "--model", str(MINI), "--ids", "1", "--isa", isa],
                          capture_output=True, timeout=300)
    if b"what this CPU lacks" in done.stderr:
        pytest.skip(done.stderr.decode().strip())
    return ["--isa", isa]


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_every_isa_agrees_with_the_golden_values(isa):
    options = isa_or_skip(isa)
    case = golden("logits-ostal-mini")["cases"][0]
    found = json.loads(engine("logits", "--model", MINI, "--ids", joined(case["prompt_ids"]), "--top", 2, *options))
    check_logits(found, case["top5"][:len(found)])
    if isa != "scalar":  # minutes
        check_greedy(MINI, case, *options)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_every_isa_agrees_on_smollm2(smollm2, isa):
    options = isa_or_skip(isa)
    check_greedy(smollm2, golden("logits-smollm2")["cases"][0], *options)


# Every layout of made models against the reference forward pass of the Hugging Face folder.
def scaled(**rope):
    """A RoPE scaling of 4 over an original context of 32."""
    return ["--ctx", "128", "--rope-theta", "10000", "--rope",
            json.dumps({"factor": 4.0, "original_max_position_embeddings": 32, **rope})]


SHAPES = {
    "experts": ["--preset", "micro"],
    "dense": ["--preset", "micro", "--experts", "0", "--kv-heads", "4"],
    "own-head-dim": ["--preset", "micro", "--head-dim", "32", "--rope-theta", "10000", "--eps", "1e-6"],
    "one-expert-a-token": ["--preset", "micro", "--experts", "8", "--topk", "1", "--heads", "8", "--kv-heads", "1"],
    "tied": ["--preset", "micro", "--experts", "0", "--tied"],
    "window": ["--preset", "micro", "--windows", "9"],
    "windows": ["--preset", "micro", "--experts", "0", "--family", "ministral", "--windows", "11,0"],
    "yarn": ["--preset", "micro", "--experts", "0", "--head-dim", "32",
             *scaled(rope_type="yarn", beta_fast=8.0, beta_slow=0.5)],
    "yarn-unscaled": ["--preset", "micro", *scaled(rope_type="yarn", attention_factor=1)],
    "linear": ["--preset", "micro", "--ctx", "128", "--rope", json.dumps({"rope_type": "linear", "factor": 4.0})],
    "llama3": ["--preset", "micro", "--experts", "0", "--family", "llama",
               *scaled(rope_type="llama3", low_freq_factor=0.5, high_freq_factor=4.0)],
}


def make_model(tmp_path, shape, *more):
    subprocess.run([sys.executable, str(TOOLS / "make_model.py"), *SHAPES[shape], "--seed", "5", "--tokenizer",
                    str(MINI / "tokenizer.model"), *map(str, more)], check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize("shape", SHAPES)
def test_made_models(tmp_path, shape):
    pytest.importorskip("numpy")
    mistral = shape not in ("linear", "llama3")  # params.json knows YaRN alone
    layouts = ["hf", "f32/model.gguf", "shards", "bf16/model.gguf"] + mistral * ["mistral", "mistral-shards"]
    make_model(tmp_path, shape, "--hf", tmp_path / "hf", "--gguf", tmp_path / "f32" / "model.gguf", "--f32",
               *mistral * ["--mistral", tmp_path / "mistral"])
    make_model(tmp_path, shape, "--hf", tmp_path / "shards", "--shards", "3", "--gguf",
               tmp_path / "bf16" / "model.gguf", "--own-experts", "--no-index",
               *mistral * ["--mistral", tmp_path / "mistral-shards"])
    ids = [1] + [(i * 7919) % 1500 + 10 for i in range(75)]
    reference = subprocess.run([sys.executable, str(TOOLS / "reference.py"), str(tmp_path / "hf"), "--ids", joined(ids),
                                "--top", "2", "--json"], check=True, capture_output=True, timeout=300)
    expected = [entry["top"] for entry in json.loads(reference.stdout)]
    answers = {}
    for model in layouts:
        answers[model] = engine("logits", "--model", tmp_path / model, "--ids", joined(ids), "--top", 2)
        check_logits(json.loads(answers[model]), expected)
    # Bit for bit the same, but where a GGUF file says in rounded numbers what config.json says exactly: llama3
    # as divisors, YaRN's own attention factor as a quotient.
    rounded = ("f32/model.gguf", "bf16/model.gguf") if shape in ("llama3", "yarn-unscaled") else ()
    assert {answers[model] for model in layouts if model not in rounded} == {answers["hf"]}


def test_perplexity_is_that_of_the_reference(tmp_path):
    pytest.importorskip("numpy")
    text = "The violin is a small string instrument. It has four strings, tuned in fifths, and is played with a bow."
    path = tmp_path / "text.txt"
    path.write_text(text)
    ids = json.loads(engine("tokenize", "--model", MINI, stdin=text))
    (tmp_path / "ids").write_text(joined(ids))
    for context, stride in ((len(ids), len(ids)), (16, 8), (16, 5), (9, 9), (2, 1)):
        found = json.loads(engine("perplexity", "--model", MINI, "--file", path, "--context", context, "--stride", stride,
                                  "--json"))
        reference = json.loads(subprocess.run(
            [sys.executable, str(TOOLS / "reference.py"), str(MINI), "--ids-file", str(tmp_path / "ids"), "--nll",
             "--context", str(context), "--stride", str(stride)], check=True, capture_output=True, timeout=300).stdout)
        assert found["tokens"] == len(ids)
        assert found["predicted"] == reference["predicted"]
        assert abs(found["mean_nll"] - reference["mean_nll"]) <= 1e-4
        assert abs(found["nll"] - found["mean_nll"] * found["predicted"]) <= 1e-9
        assert abs(found["perplexity"] / math.exp(reference["mean_nll"]) - 1) <= 1e-4
        assert abs(found["standard_error"] / found["perplexity"] - reference["error"]) <= 1e-4


def test_inspect(tmp_path, smollm2):
    found = json.loads(engine("inspect", "--model", smollm2, "--json"))
    assert found["source"] == "GGUF file" and found["refused"] is None
    assert found["config"]["layers"] == 30 and found["config"]["tied_embeddings"] is True
    assert sum(entry["bytes"] for entry in found["tensors"]) == found["weight_bytes"]
    assert found["tokenizer"]["tokens"] == 49152
    assert found["format"]["name"] == "chatml"


def test_inspect_reads_headers_alone(tmp_path):
    """Mixtral 8x7B by its shapes: 93 GB that are holes in a file."""
    dim, heads, kv_heads, ffn, layers, experts, vocab = 4096, 32, 8, 14336, 32, 8, 32000
    (tmp_path / "params.json").write_text(json.dumps({
        "dim": dim, "n_layers": layers, "head_dim": 128, "hidden_dim": ffn, "n_heads": heads, "n_kv_heads": kv_heads,
        "norm_eps": 1e-5, "vocab_size": vocab, "moe": {"num_experts": experts, "num_experts_per_tok": 2}}))
    (tmp_path / "tokenizer.model.v1").write_bytes((MINI / "tokenizer.model").read_bytes())
    shapes = {"tok_embeddings.weight": [vocab, dim], "norm.weight": [dim], "output.weight": [vocab, dim]}
    for i in range(layers):
        layer = f"layers.{i}."
        shapes |= {layer + "attention.wq.weight": [dim, dim], layer + "attention.wk.weight": [1024, dim],
                   layer + "attention.wv.weight": [1024, dim], layer + "attention.wo.weight": [dim, dim],
                   layer + "attention_norm.weight": [dim], layer + "ffn_norm.weight": [dim],
                   layer + "feed_forward.gate.weight": [experts, dim]}
        for e in range(experts):
            expert = layer + f"feed_forward.experts.{e}."
            shapes |= {expert + "w1.weight": [ffn, dim], expert + "w2.weight": [dim, ffn], expert + "w3.weight": [ffn, dim]}
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(tmp_path / "consolidated.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    found = json.loads(engine("inspect", "--model", tmp_path, "--json"))
    assert found["source"] == "Mistral folder" and found["refused"] is None
    assert found["parameters"] == 46_702_792_704 and found["weight_bytes"] == offset
    assert found["tensors"] == [{"type": "bf16", "tensors": len(shapes), "bytes": offset}]
    assert found["config"]["architecture"] == "mixtral" and found["config"]["rope"] == {"kind": "plain", "theta": 1e6}
    assert found["tokenizer"]["kind"] == "SentencePiece model" and found["format"]["name"] == "v1"


# ---- Tokens and templates through the command line; the whole of the golden files is tested in process ----

FORMATS = ["v1", "v2", "v3", "v3-tekken", "v7", "v7-tekken", "v11-tekken", "v13-tekken", "v15-tekken"]


def tokenizer_file(tokenizers, data):
    """The tekken files name their ranks; their control tokens are the conventional ones."""
    name = data["tokenizer_file"]
    return tokenizers / ("tekken_240718.json" if name.startswith("tekken_240718 ranks") else name)


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v7", "tekken"])
def test_texts(tokenizers, version):
    data = golden(f"text-{version}")
    file = tokenizer_file(tokenizers, data)
    for case in data["cases"][::8]:
        assert json.loads(engine("tokenize", "--tokenizer", file, "--no-special", stdin=case["text"])) == case["ids"]
        assert json.loads(engine("tokenize", "--tokenizer", file, stdin=case["text"])) == [1] + case["ids"]
        assert engine("detokenize", "--tokenizer", file, stdin=json.dumps(case["ids"])) == case["decoded"]


def test_texts_of_smollm2(smollm2):
    for case in golden("text-smollm2")["cases"][::12]:
        # Its metadata says that no bos is added.
        assert json.loads(engine("tokenize", "--model", smollm2, stdin=case["text"])) == case["ids"]
        assert engine("detokenize", "--tokenizer", smollm2, stdin=json.dumps(case["ids"])) == case["text"]


@pytest.mark.parametrize("version", FORMATS)
def test_fill_in_the_middle(tokenizers, version):
    data = golden(f"fim-{version}")
    words = ["template", "--tokenizer", tokenizer_file(tokenizers, data), "--format", version, "--fim"]
    for case in data["cases"]:
        request = json.dumps({"prompt": case["prompt"], "suffix": case["suffix"]})
        if "refused" in case:
            assert engine(*words, stdin=request, code=1)
        else:
            assert json.loads(engine(*words, stdin=request)) == case["ids"], request


@pytest.mark.parametrize("version", FORMATS)
def test_chats(tokenizers, version):
    data = golden(f"chat-{version}")
    file = tokenizer_file(tokenizers, data)
    # A tekken file takes a third of a second to read: a few of its cases; all are compared in process.
    cases = data["cases"][::6] if version.endswith("tekken") else data["cases"]
    for case in cases:
        words = ["template", "--tokenizer", file, "--format", version, "--chat"]
        request = json.dumps(case["request"])
        if case["name"] == "call-id-openai" and version != "v1":
            assert engine(*words, stdin=request)  # a server takes foreign call ids, and maps them
            continue
        if "refused" in case:
            assert engine(*words, stdin=request, code=1), case["name"]
        else:
            assert json.loads(engine(*words, stdin=request)) == case["ids"], case["name"]


def test_chats_of_smollm2(smollm2):
    for case in golden("chat-smollm2")["cases"]:
        request = json.dumps({"messages": case["messages"]})
        # The template it carries is a known one; naming the format says the same.
        for more in ([], ["--format", "chatml"]):
            assert json.loads(engine("template", "--model", smollm2, "--chat", *more, stdin=request)) == case["ids"]


# ---- Damaged files end with a reason, not with a signal ----

def test_damaged_gguf(tmp_path, smollm2):
    whole = pathlib.Path(smollm2)
    path = tmp_path / "cut.gguf"
    size = whole.stat().st_size
    with open(whole, "rb") as file:
        content = file.read(4 << 20)
    for length in (0, 3, 4, 23, 24, 1000, len(content)):
        path.write_bytes(content[:length])
        error = engine("logits", "--model", path, "--ids", "1", code=1)
        assert "cut.gguf" in error and str(size) not in error
