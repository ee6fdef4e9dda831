// The shape and the constants of a model, read from config.json (Hugging Face) or from GGUF metadata.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/request.h"

namespace ostal::engine {

class GgufFile;

// All fields are within the bounds of model_config.cpp, and consistent: heads is a multiple of kv_heads,
// head_dim is even, experts_per_token <= experts, ids < vocab.
struct ModelConfig {
    std::string architecture;  // "mixtral", "mistral" or "llama"; GGUF: "mixtral" or "llama"
    std::int32_t layers = 0;
    std::int32_t dim = 0;                // D, width of the residual stream
    std::int32_t heads = 0;              // H, query heads
    std::int32_t kv_heads = 0;           // K
    std::int32_t head_dim = 0;           // Dh; not always dim / heads
    std::int32_t ffn = 0;                // F, hidden width of the MLP or of one expert
    std::int32_t experts = 0;            // E; 0: dense
    std::int32_t experts_per_token = 0;  // A
    std::int32_t vocab = 0;              // V, rows of the embedding
    std::int32_t context = 0;            // longest sequence in tokens
    double rope_theta = 10000.0;
    float norm_eps = 1e-5F;
    // Keys that a token of each layer sees, its own included; 0: all. Empty: all in every layer.
    std::vector<std::int32_t> windows;
    bool tied_embeddings = false;  // the output matrix is the embedding
    TokenId bos = -1;              // -1: none
    std::vector<TokenId> eos;      // any of them ends a sequence; may be empty

    std::int32_t window(std::int32_t layer) const {
        return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
    }
};

// From the text of config.json. model_type mixtral, mistral or llama; every setting that those models'
// reference implementation (the transformers library's modeling_*.py) looks at is either read or, when it has
// a value this build does not compute (rope_scaling, hidden_act, attention_bias, sliding_window below the
// context, quantization_config, auto_map, ...), refused by name; settings it does not look at are skipped.
// kInvalidArgument names the field, its value and what was expected; kUnsupported names the setting.
Result<ModelConfig> parse_model_config(std::string_view config_json);
// Adds the eos ids that generation_config.json names (an id or a list).
Status add_generation_config(std::string_view generation_config_json, ModelConfig& config);

// From GGUF metadata: general.architecture "llama", every llama.* key known or refused by name.
// `tied_embeddings` is true when the file holds no output.weight. Errors as above.
Result<ModelConfig> model_config_from_gguf(const GgufFile& file);

}  // namespace ostal::engine
