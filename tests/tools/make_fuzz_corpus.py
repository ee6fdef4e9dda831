#!/usr/bin/env python3
"""Writes the kept seeds of the fuzz targets over model files: small good files, and hostile ones.

  make_fuzz_corpus.py tests/fuzz/corpus        needs python3 alone; writes gguf/, safetensors/, config/ and tekken/

Files found by fuzzing lie beside them under other names and are not touched.
"""
import base64, json, os, struct, sys

def gstr(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10

def kv(key, kind, value):
    body = {U32: lambda: struct.pack("<I", value), F32: lambda: struct.pack("<f", value),
            BOOL: lambda: struct.pack("<B", value), STRING: lambda: gstr(value),
            U64: lambda: struct.pack("<Q", value), ARRAY: lambda: value}[kind]()
    return gstr(key) + struct.pack("<I", kind) + body

def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)

def entry(name, dims, kind, offset):
    return gstr(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)

def gguf(values, entries, data=b"", version=3, n_tensors=None, n_values=None):
    head = b"GGUF" + struct.pack("<IQQ", version, len(entries) if n_tensors is None else n_tensors,
                                 len(values) if n_values is None else n_values)
    head += b"".join(values) + b"".join(entries)
    return head + b"\0" * (-len(head) % 32) + data

def model_values(experts):
    v = [kv("general.architecture", STRING, "llama"), kv("general.alignment", U32, 32),
         kv("llama.vocab_size", U32, 4), kv("llama.context_length", U32, 16), kv("llama.embedding_length", U32, 32),
         kv("llama.block_count", U32, 1), kv("llama.feed_forward_length", U32, 32), kv("llama.rope.freq_base", F32, 1e4),
         kv("llama.attention.head_count", U32, 2), kv("llama.attention.head_count_kv", U32, 1),
         kv("llama.attention.layer_norm_rms_epsilon", F32, 1e-5), kv("tokenizer.ggml.model", STRING, "llama"),
         kv("tokenizer.ggml.tokens", ARRAY, array(STRING, [gstr(t) for t in ("<unk>", "<s>", "</s>", "a")])),
         kv("tokenizer.ggml.scores", ARRAY, array(F32, [struct.pack("<f", 0)] * 4)),
         kv("tokenizer.ggml.token_type", ARRAY, array(5, [struct.pack("<i", t) for t in (2, 3, 3, 1)])),
         kv("tokenizer.ggml.bos_token_id", U32, 1), kv("tokenizer.ggml.eos_token_id", U32, 2),
         kv("tokenizer.ggml.add_bos_token", BOOL, 1)]
    if experts:
        v += [kv("llama.expert_count", U32, experts), kv("llama.expert_used_count", U32, 1)]
    return v

def model(experts, quantised):
    kind = 8 if quantised else 0
    matrices = [("token_embd", [32, 4]), ("blk.0.attn_q", [32, 32]), ("blk.0.attn_k", [32, 16]), ("blk.0.attn_v", [32, 16]),
                ("blk.0.attn_output", [32, 32])]
    norms = ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"]
    if experts:
        matrices += [("blk.0.ffn_%s_exps" % n, [32, 32, experts]) for n in ("gate", "up", "down")]
    else:
        matrices += [("blk.0.ffn_%s" % n, [32, 32]) for n in ("gate", "up", "down")]
    plain = [(n, [32]) for n in norms] + ([("blk.0.ffn_gate_inp", [32, experts])] if experts else [])
    entries, data = [], b""
    for (name, dims), k in [(m, kind) for m in matrices] + [(p, 0) for p in plain]:
        count = 1
        for d in dims: count *= d
        content = b"\0" * (count // 32 * 34 if k == 8 else 4 * count)
        entries.append(entry(name + ".weight", dims, k, len(data)))
        data += content + b"\0" * (-len(content) % 32)
    return gguf(model_values(experts), entries, data)

def safetensors(header, data=b""):
    h = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(h)) + h + data

def t(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

def main(out):
    def put(target, name, data):
        os.makedirs(os.path.join(out, target), exist_ok=True)
        with open(os.path.join(out, target, name), "wb") as f:
            f.write(data)

    put("gguf", "dense-f32", model(0, False))
    put("gguf", "dense-q8_0", model(0, True))
    put("gguf", "experts-q8_0", model(2, True))
    put("gguf", "version-2", gguf([kv("a", U64, 1)], [], version=2))
    for i, n in enumerate((2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)):
        put("gguf", "hostile-tensors-%d" % i, gguf([], [], n_tensors=n))
        put("gguf", "hostile-values-%d" % i, gguf([], [], n_values=n))
        put("gguf", "hostile-text-%d" % i, gguf([gstr("k") + struct.pack("<IQ", STRING, n)], []))
        put("gguf", "hostile-array-%d" % i, gguf([gstr("k") + struct.pack("<IIQ", ARRAY, U64, n)], []))
        put("gguf", "hostile-dimension-%d" % i, gguf([], [entry("t", [n, 4], 0, 0)], b"\0" * 64))
        put("gguf", "hostile-offset-%d" % i, gguf([], [entry("t", [8], 0, n // 32 * 32)], b"\0" * 64))
    put("gguf", "hostile-product", gguf([], [entry("t", [2**31, 2**31], 0, 0)], b"\0" * 64))
    put("gguf", "hostile-overlap", gguf([], [entry("a", [16], 0, 0), entry("b", [8], 0, 32)], b"\0" * 64))
    put("gguf", "hostile-twice", gguf([kv("a", U32, 1)] * 2, []))
    for n in (0, 1, 24, 2**31):
        put("gguf", "hostile-alignment-%d" % n, gguf([kv("general.alignment", U32, n)], [entry("t", [8], 0, 0)], b"\0" * 64))
    put("gguf", "hostile-nested", gguf([gstr("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + struct.pack("<IQ", ARRAY, 1) * 8], []))
    put("gguf", "hostile-q6_k", gguf([], [entry("t", [256], 14, 0)], b"\0" * 256))

    two = {"__metadata__": {"format": "pt"}, "a": t("F32", [2, 3], 0, 24), "b": t("BF16", [4], 24, 32), "c": t("F16", [1, 2], 32, 36)}
    put("safetensors", "good", safetensors(two, b"\0" * 36))
    put("safetensors", "empty", safetensors({}))
    for i, n in enumerate((2**32, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1)):
        put("safetensors", "hostile-length-%d" % i, struct.pack("<Q", n) + b"{}")
        put("safetensors", "hostile-end-%d" % i, safetensors({"a": t("F32", [1], 0, n)}, b"\0" * 4))
        put("safetensors", "hostile-shape-%d" % i, safetensors({"a": t("F32", [n, 4], 0, 4)}, b"\0" * 4))
    put("safetensors", "hostile-overlap", safetensors({"a": t("F32", [2], 0, 8), "b": t("F32", [2], 4, 12)}, b"\0" * 12))
    put("safetensors", "hostile-hole", safetensors({"a": t("F32", [1], 4, 8)}, b"\0" * 8))
    put("safetensors", "hostile-twice", safetensors(b'{"a":%b,"a":%b}' % ((json.dumps(t("F32", [1], 0, 4)).encode(),) * 2), b"\0" * 4))
    put("safetensors", "hostile-depth", safetensors(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"))
    put("safetensors", "hostile-dtype", safetensors({"a": t("F8_E4M3", [1], 0, 1)}, b"\0"))
    put("safetensors", "index-good", json.dumps({"metadata": {"total_size": 4}, "weight_map": {"a": "model-1.safetensors"}}).encode())
    put("safetensors", "index-lost", json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}).encode())
    put("safetensors", "index-path", json.dumps({"weight_map": {"a": "../model-1.safetensors"}}).encode())

    config = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096,
              "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
              "num_local_experts": 8, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "head_dim": 128,
              "max_position_embeddings": 32768, "sliding_window": None, "hidden_act": "silu", "tie_word_embeddings": False,
              "bos_token_id": 1, "eos_token_id": [2, 7]}
    def changed(**more):
        return json.dumps({**config, **more}).encode()
    put("config", "mixtral", changed())
    put("config", "llama", changed(model_type="llama", architectures=["LlamaForCausalLM"], num_local_experts=None,
                                   rope_parameters={"rope_theta": 5e5, "rope_type": "default"}))
    put("config", "window", changed(sliding_window=4096, use_sliding_window=False, layer_types=["full_attention"]))
    put("config", "generation", json.dumps({"eos_token_id": [2, 3], "temperature": 0.7}).encode())
    put("config", "hostile-large", changed(num_hidden_layers=2**63 - 1, hidden_size=2**64 - 1))
    put("config", "hostile-zero", changed(num_key_value_heads=0))
    put("config", "hostile-code", changed(auto_map={"AutoModel": "evil.Model"}))
    put("config", "hostile-scaling", changed(rope_scaling={"type": "yarn", "factor": 1e308}))
    put("config", "hostile-depth", b'{"rope_scaling":' + b'{"a":' * 100 + b"1" + b"}" * 101)

    put_tekken(put)

TEKKEN_PATTERN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
                  r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
                  r"\s*[\r\n]+|\s+(?!\S)|\s+")

def put_tekken(put):
    vocab = [bytes([i]) for i in range(256)] + [b"th", b"the", b" the", b"\xe4\xb8\x96"]
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    good = {"config": {"pattern": TEKKEN_PATTERN, "num_vocab_tokens": len(vocab), "default_vocab_size": len(vocab) + 6,
                       "default_num_special_tokens": 6, "version": "v13"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(b).decode(), "token_str": None} for i, b in enumerate(vocab)],
            "special_tokens": [{"rank": i, "token_str": n, "is_control": True} for i, n in enumerate(special)]}
    def changed(config=(), **more):
        return json.dumps({**good, **more, "config": {**good["config"], **dict(config)}}, separators=(",", ":")).encode()
    put("tekken", "good.json", changed())
    put("tekken", "settings.json", changed(model_settings_builder={"reasoning_effort": {
        "type": "enum", "accepts_none": True, "default": "none", "values": ["none", "high"]}}))
    put("tekken", "conventional.json", changed({"default_num_special_tokens": 20, "default_vocab_size": len(vocab) + 20},
                                               special_tokens=None))
    for i, n in enumerate((2**31, 2**32, 2**63 - 1, 2**64 - 1, -1)):
        put("tekken", "hostile-size-%d.json" % i, changed({"default_vocab_size": n}, vocab=[]))
        put("tekken", "hostile-special-%d.json" % i, changed({"default_num_special_tokens": n}, vocab=[]))
        put("tekken", "hostile-id-%d.json" % i, changed(special_tokens=[{"rank": n, "token_str": "<s>", "is_control": True}], vocab=[]))
    put("tekken", "hostile-pattern.json", changed({"pattern": "(a+)+$"}, vocab=[]))
    put("tekken", "hostile-short.json", changed({"default_vocab_size": 400}, vocab=good["vocab"][:3]))
    put("tekken", "hostile-twice.json", changed(vocab=good["vocab"][:257] + [dict(good["vocab"][256], rank=257)],
                                                config={"default_vocab_size": 264}))
    put("tekken", "text-cases", b"\xff" + "aB Cd EF gh/\n\r HELLO\u4e16A \u0301a\u0301B 12 \t x\u3000".encode())

if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit(__doc__)
    main(sys.argv[1])
