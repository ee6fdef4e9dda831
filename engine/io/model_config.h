// The shape and the constants of a model, read from config.json (Hugging Face), params.json (Mistral) or GGUF
// metadata.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/request.h"

namespace ostal::engine {

class GgufFile;

// How the angles of RoPE are stretched for contexts longer than those of the first training. What each kind
// computes: engine/model/rope.h.
enum class RopeKind : std::uint8_t {
    kPlain,
    kLinear,
    kDynamic,  // plain up to original_context, and no context is longer (docs/adr/0012)
    kYarn,
    kLlama3,
    kDivisors,  // a divisor for each frequency, the tensor rope_freqs.weight [Dh / 2] of a GGUF file
};
std::string_view rope_kind_name(RopeKind kind);  // "plain", "linear", ...

// Fields that a kind does not name keep their defaults.
struct RopeScaling {
    RopeKind kind = RopeKind::kPlain;
    double factor = 1.0;  // kLinear, kYarn, kLlama3 (and kDynamic, which does not compute with it)
    std::int32_t original_context = 0;  // kDynamic, kYarn, kLlama3: tokens
    double beta_fast = 32.0;            // kYarn: rotations within original_context
    double beta_slow = 1.0;
    bool truncate = true;               // kYarn: the ramp begins and ends at whole frequencies
    double attention_factor = 1.0;      // kYarn: cosines and sines are multiplied by it
    double low_frequency_factor = 1.0;  // kLlama3
    double high_frequency_factor = 4.0;

    friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

// All fields are within the bounds of model_limits.h, and consistent: heads is a multiple of kv_heads,
// head_dim is even, experts_per_token <= experts, ids < vocab.
struct ModelConfig {
    std::string architecture;  // "mixtral", "mistral", "ministral" or "llama"; GGUF: "mixtral" or "llama"
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
    RopeScaling rope_scaling;
    float norm_eps = 1e-5F;
    // Keys that a token of each layer sees, its own included; 0: all. Empty: all in every layer.
    std::vector<std::int32_t> windows;
    bool tied_embeddings = false;  // the output matrix is the embedding
    TokenId bos = -1;              // -1: none
    std::vector<TokenId> eos;      // any of them ends a sequence; may be empty

    std::int32_t window(std::int32_t layer) const {
        return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)];
    }

    bool operator==(const ModelConfig&) const = default;
};

// From the text of config.json. model_type mixtral, mistral, ministral or llama; every setting that those
// models' reference implementation (the transformers library's modeling_*.py) looks at is either read or,
// when it has a value this build does not compute (hidden_act, attention_bias, quantization_config, auto_map,
// a kind of RoPE scaling, ...), refused by name; settings it does not look at are skipped. kInvalidArgument
// names the field, its value and what was expected; kUnsupported names the setting.
Result<ModelConfig> parse_model_config(std::string_view config_json);
// Adds the eos ids that generation_config.json names (an id or a list).
Status add_generation_config(std::string_view generation_config_json, ModelConfig& config);

// From the text of params.json, as Mistral's own releases write it (mistral-inference, args.py; newer ones as
// vLLM's configs/mistral.py reads them). architecture is "mixtral" with moe, else "mistral"; ids of bos and
// eos are 1 and 2, as in all of Mistral's vocabularies. Every member that is not read and not null is refused
// by name, but for the harmless ones listed in model_config_params.cpp. Errors as above.
Result<ModelConfig> parse_mistral_params(std::string_view params_json);

// From GGUF metadata: general.architecture "llama", every llama.* key known or refused by name.
// `tied_embeddings` is true when the file holds no output.weight. Errors as above.
Result<ModelConfig> model_config_from_gguf(const GgufFile& file);

}  // namespace ostal::engine
