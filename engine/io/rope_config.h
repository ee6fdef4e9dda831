// RoPE scalings as config.json, params.json and GGUF metadata describe them, brought to one RopeScaling.
//
// Sources: transformers, modeling_rope_utils.py (the kinds and their members); Peng et al., "YaRN" (2023);
// the `yarn` block of Mistral's params.json as vLLM's transformers_utils/configs/mistral.py maps it; the
// rope.scaling.* keys of ggml's docs/gguf.md and llama.cpp's src/llama-context.cpp.
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/io/config_fields.h"
#include "engine/io/model_config.h"

namespace ostal::engine::config {

// rope_theta and the scaling of config.json: `rope_scaling` beside `rope_theta`, or `rope_parameters` with
// both. architecture and context of `out` are known; context may shrink (dynamic).
Status read_hf_rope(const Fields& config, ModelConfig& out);

// The block `yarn` of params.json: factor, original_max_position_embeddings, beta, alpha, apply_scale.
Result<RopeScaling> read_mistral_yarn(const Fields& yarn, double theta);

// llama.rope.freq_base and llama.rope.scaling.* (also the older llama.rope.scale_linear), and the tensor
// rope_freqs.weight. context of `out` is known.
Status read_gguf_rope(const GgufFile& file, ModelConfig& out);

// What YaRN multiplies cosines and sines with, so that attention keeps its sharpness: 1 + 0.1 mscale
// ln(factor) (Peng et al., section 3.4, eq. 22, as a square root).
double yarn_mscale(double factor, double mscale = 1.0);

}  // namespace ostal::engine::config
