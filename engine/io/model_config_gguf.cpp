// ModelConfig from GGUF metadata. Keys: docs/gguf.md of the ggml project, section on standardised keys.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engine/io/config_fields.h"
#include "engine/io/gguf.h"
#include "engine/io/model_config.h"
#include "engine/io/model_limits.h"
#include "engine/io/rope_config.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine {
namespace {

using config::malformed;
using config::unsupported;

constexpr config::FieldNames kNames{"llama.attention.head_count", "llama.attention.head_count_kv",
                                    "llama.attention.key_length", "llama.expert_count",
                                    "llama.expert_used_count"};

Result<std::int32_t> read_size(const GgufFile& file, const std::string& key, std::int64_t most,
                               std::optional<std::int32_t> otherwise = std::nullopt) {
    OSTAL_TRY(const auto value, file.integer(key));
    if (!value) {
        if (otherwise) return *otherwise;
        return malformed(key + " is missing, expected an integer from 1 to " + std::to_string(most));
    }
    if (*value < 1 || *value > most) {
        return malformed(key + " is " + std::to_string(*value) + ", expected 1 to " + std::to_string(most));
    }
    return static_cast<std::int32_t>(*value);
}

Result<double> read_number(const GgufFile& file, const std::string& key, double least, double most,
                           std::optional<double> otherwise) {
    OSTAL_TRY(const auto value, file.number(key));
    if (!value && otherwise) return *otherwise;
    if (value && *value >= least && *value <= most) return *value;
    return malformed(key + " is " + (value ? json::to_string(json::Value(*value)) : "missing") +
                     ", expected a number from " + json::to_string(json::Value(least)) + " to " +
                     json::to_string(json::Value(most)));
}

// Keys that read_config() looks at, or that describe without changing the computation.
constexpr std::array<std::string_view, 26> kKnownKeys{
    "llama.vocab_size",
    "llama.context_length",
    "llama.embedding_length",
    "llama.block_count",
    "llama.feed_forward_length",
    "llama.rope.dimension_count",
    "llama.rope.freq_base",
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.attention.sliding_window",
    "llama.expert_count",
    "llama.expert_used_count",
    "llama.attention.sliding_window_pattern",
    "llama.rope.scaling.type",
    "llama.rope.scaling.factor",
    "llama.rope.scaling.original_context_length",
    "llama.rope.scaling.finetuned",
    "llama.rope.scaling.attn_factor",
    "llama.rope.scaling.yarn_attn_factor",
    "llama.rope.scaling.yarn_beta_fast",
    "llama.rope.scaling.yarn_beta_slow",
    "llama.rope.scale_linear",
    "llama.tensor_data_layout",
};
// Keys whose one value leaves the computation as it is.
struct Neutral {
    std::string_view key;
    double value;
};
constexpr std::array<Neutral, 6> kNeutralKeys{{
    {"llama.rope.scaling.yarn_ext_factor", 1.0},
    {"llama.rope.scaling.yarn_log_multiplier", 0.0},
    {"llama.expert_shared_count", 0.0},
    {"llama.expert_gating_func", 1.0},  // softmax
    {"llama.leading_dense_block_count", 0.0},
    {"llama.logit_scale", 1.0},
}};

Status refuse_unsupported(const GgufFile& file) {
    for (const auto& [key, value] : file.metadata()) {
        if (!key.starts_with("llama.") ||
            std::find(kKnownKeys.begin(), kKnownKeys.end(), key) != kKnownKeys.end())
            continue;
        const auto neutral = std::find_if(kNeutralKeys.begin(), kNeutralKeys.end(),
                                          [&name = key](const Neutral& n) { return n.key == name; });
        if (neutral == kNeutralKeys.end()) return unsupported("the setting " + key + " is not supported");
        OSTAL_TRY(const auto number, file.number(key));
        if (*number != neutral->value) {
            return unsupported(key + " is " + json::to_string(json::Value(*number)) +
                               ", which is not supported; only " +
                               json::to_string(json::Value(neutral->value)) + " is");
        }
    }
    return {};
}

Result<std::int32_t> read_vocab(const GgufFile& file) {
    OSTAL_TRY(const auto* tokens, file.texts("tokenizer.ggml.tokens"));
    std::optional<std::int32_t> count;
    if (tokens != nullptr && !tokens->empty() && tokens->size() <= static_cast<std::size_t>(kMaxVocab)) {
        count = static_cast<std::int32_t>(tokens->size());
    }
    OSTAL_TRY(const std::int32_t vocab, read_size(file, "llama.vocab_size", kMaxVocab, count));
    if (tokens != nullptr && tokens->size() != static_cast<std::size_t>(vocab)) {
        return malformed("llama.vocab_size is " + std::to_string(vocab) + ", but tokenizer.ggml.tokens has " +
                         std::to_string(tokens->size()) + " tokens");
    }
    return vocab;
}

Result<TokenId> read_id(const GgufFile& file, const std::string& key, std::int32_t vocab) {
    OSTAL_TRY(const auto id, file.integer(key));
    if (!id) return -1;
    if (*id < 0 || *id >= vocab) {
        return malformed(key + " is " + std::to_string(*id) + ", expected below the vocabulary size " +
                         std::to_string(vocab));
    }
    return static_cast<TokenId>(*id);
}

// llama.attention.sliding_window (0: none), in every layer, or in those that sliding_window_pattern says:
// true for each that slides, or a number n, the last of every n layers seeing all.
Status read_windows(const GgufFile& file, ModelConfig& out) {
    const std::string key = "llama.attention.sliding_window";
    const std::string pattern_key = key + "_pattern";
    OSTAL_TRY(const auto given, file.integer(key));
    if (!given || *given == 0) return {};
    OSTAL_TRY(const std::int32_t window, read_size(file, key, kMaxContext));
    const auto layers = static_cast<std::size_t>(out.layers);
    std::vector<std::int32_t> windows(layers, window);
    const GgufValue* pattern = file.find(pattern_key);
    if (pattern == nullptr) {
        config::set_windows(out, std::move(windows));
        return {};
    }
    if (const auto* slides = std::get_if<std::vector<bool>>(pattern)) {
        if (slides->size() != layers) {
            return malformed(pattern_key + " has " + std::to_string(slides->size()) + " values, expected " +
                             std::to_string(layers) + " (llama.block_count)");
        }
        for (std::size_t i = 0; i < layers; ++i) windows[i] = (*slides)[i] ? window : 0;
    } else {
        OSTAL_TRY(const std::int32_t every, read_size(file, pattern_key, kMaxLayers));
        for (std::size_t i = 0; i < layers; ++i) {
            if ((i + 1) % static_cast<std::size_t>(every) == 0) windows[i] = 0;
        }
    }
    config::set_windows(out, std::move(windows));
    return {};
}

Result<ModelConfig> read_config(const GgufFile& file) {
    OSTAL_TRY(const auto architecture, file.text("general.architecture"));
    if (!architecture) return malformed("general.architecture is missing");
    if (*architecture != "llama") {
        return unsupported("the architecture " + shown(*architecture) +
                           " is not supported; llama is read (Mixtral, Mistral and Llama models)");
    }
    OSTAL_TRYV(refuse_unsupported(file));
    ModelConfig out;
    OSTAL_TRY(out.layers, read_size(file, "llama.block_count", kMaxLayers));
    OSTAL_TRY(out.dim, read_size(file, "llama.embedding_length", kMaxDim));
    OSTAL_TRY(out.heads, read_size(file, "llama.attention.head_count", kMaxHeads));
    OSTAL_TRY(out.kv_heads, read_size(file, "llama.attention.head_count_kv", kMaxHeads, out.heads));
    std::optional<std::int32_t> even_share;
    if (out.dim % out.heads == 0 && out.dim / out.heads <= kMaxHeadDim) even_share = out.dim / out.heads;
    OSTAL_TRY(out.head_dim, read_size(file, "llama.attention.key_length", kMaxHeadDim, even_share));
    for (const char* key : {"llama.attention.value_length", "llama.rope.dimension_count"}) {
        OSTAL_TRY(const std::int32_t same, read_size(file, key, kMaxHeadDim, out.head_dim));
        if (same != out.head_dim) {
            return unsupported(std::string(key) + " is " + std::to_string(same) +
                               ", which is not supported; only the size of a head (" +
                               std::to_string(out.head_dim) + ") is");
        }
    }
    OSTAL_TRY(out.ffn, read_size(file, "llama.feed_forward_length", kMaxFfn));
    OSTAL_TRY(out.context, read_size(file, "llama.context_length", kMaxContext));
    OSTAL_TRY(out.vocab, read_vocab(file));
    OSTAL_TRY(const auto experts, file.integer("llama.expert_count"));
    if (experts && *experts != 0) {
        OSTAL_TRY(out.experts, read_size(file, "llama.expert_count", kMaxExperts));
        OSTAL_TRY(out.experts_per_token, read_size(file, "llama.expert_used_count", kMaxExperts));
    }
    out.architecture = out.experts > 0 ? "mixtral" : "llama";
    OSTAL_TRYV(config::read_gguf_rope(file, out));
    OSTAL_TRYV(read_windows(file, out));
    OSTAL_TRY(const double eps, read_number(file, "llama.attention.layer_norm_rms_epsilon", kLeastNormEps,
                                            kMaxNormEps, std::nullopt));
    out.norm_eps = static_cast<float>(eps);
    out.tied_embeddings = file.find_tensor("output.weight") == nullptr;
    OSTAL_TRY(out.bos, read_id(file, "tokenizer.ggml.bos_token_id", out.vocab));
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
        OSTAL_TRY(const TokenId id, read_id(file, key, out.vocab));
        if (id >= 0 && std::find(out.eos.begin(), out.eos.end(), id) == out.eos.end()) out.eos.push_back(id);
    }
    OSTAL_TRYV(config::check_consistent(out, kNames));
    return out;
}

}  // namespace

Result<ModelConfig> model_config_from_gguf(const GgufFile& file) {
    auto config = read_config(file);
    if (!config) return fail(std::move(config).error().with("while reading " + file.file()));
    return config;
}

}  // namespace ostal::engine
