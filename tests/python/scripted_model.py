"""Models whose weights are a table "after this token comes that one": what they say is known before."""
import json
import struct

import appliance as harness
from spm_model import NORMAL, copy_with_last_pieces

HIDDEN = 64
VOCABULARY = 8192
END, END_OF_PROMPT, TOOL_CALLS, END_OF_RESULTS = 2, 4, 5, 9  # ids in ostal-mini's vocabulary
CONFIG = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
          "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
          "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 1024, "sliding_window": None,
          "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": END, "torch_dtype": "bfloat16"}
CALLS = [{"name": "weather", "arguments": {"city": city}} for city in ("Bern", "Rome")]
AFTER_RESULTS = "Both are fine."


def write_caller(folder):
    """A model that answers each prompt with CALLS, and each prompt that ends with results with AFTER_RESULTS."""
    pieces = [json.dumps(CALLS, separators=(",", ":")), AFTER_RESULTS.replace(" ", "\u2581")]
    calls, after_results = VOCABULARY - 1, VOCABULARY - 2
    copy_with_last_pieces(harness.MINI, folder, pieces, NORMAL)
    for name, content in (("config.json", json.dumps(CONFIG).encode()),
                          ("model.safetensors", table_weights({END_OF_PROMPT: TOOL_CALLS, TOOL_CALLS: calls, calls: END,
                                                               END_OF_RESULTS: after_results, after_results: END}))):
        (folder / name).unlink()
        (folder / name).write_bytes(content)


def table_weights(successors):
    """A safetensors file: the layer adds nothing, so that the last token's embedding alone, one direction for each token of
    the table, meets the output matrix, where that direction is its successor's."""
    one = struct.pack("<H", 0x3F80)  # bfloat16

    def rows(tokens):
        out = bytearray(VOCABULARY * HIDDEN * 2)
        for direction, token in enumerate(tokens):
            at = (token * HIDDEN + direction) * 2
            out[at:at + 2] = one
        return bytes(out)

    def zeros(*shape):
        size = 2
        for length in shape:
            size *= length
        return list(shape), bytes(size)

    table = [VOCABULARY, HIDDEN]
    tensors = {
        "model.embed_tokens.weight": (table, rows(list(successors))),
        "lm_head.weight": (table, rows(list(successors.values()))),
        "model.norm.weight": ([HIDDEN], one * HIDDEN),
    }
    layer = "model.layers.0."
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"{layer}{name}.weight"] = ([HIDDEN], one * HIDDEN)
    for name, shape in (("q_proj", (64, HIDDEN)), ("k_proj", (32, HIDDEN)), ("v_proj", (32, HIDDEN)), ("o_proj", (HIDDEN, 64))):
        tensors[f"{layer}self_attn.{name}.weight"] = zeros(*shape)
    for name in ("gate_proj", "up_proj", "down_proj"):
        tensors[f"{layer}mlp.{name}.weight"] = zeros(HIDDEN, HIDDEN)
    header, data = {}, b""
    for name, (shape, content) in tensors.items():
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data
