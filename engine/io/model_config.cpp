#include "engine/io/model_config.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/check.h"
#include "base/json.h"
#include "engine/io/config_fields.h"
#include "engine/io/model_limits.h"
#include "engine/io/rope_config.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine {
namespace {

using config::Fields;
using config::malformed;
using config::unsupported;
using config::value_text;

constexpr config::FieldNames kNames{"num_attention_heads", "num_key_value_heads", "head_dim",
                                    "num_local_experts", "num_experts_per_tok"};

Result<std::string> read_architecture(const Fields& config) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kKnown{{
        {"mixtral", "MixtralForCausalLM"},
        {"mistral", "MistralForCausalLM"},
        {"ministral", "MinistralForCausalLM"},
        {"llama", "LlamaForCausalLM"},
    }};
    constexpr std::string_view kRead = "; mixtral, mistral, ministral and llama are read";
    const json::Value* type = config.given("model_type");
    const json::Value* classes = config.given("architectures");
    std::string_view of_class;  // the model_type that architectures stands for
    if (classes != nullptr) {
        if (!classes->is_array() || classes->as_array().size() != 1 || !classes->as_array()[0].is_string()) {
            return malformed("architectures is " + value_text(*classes) + ", expected a list of one name");
        }
        const std::string& name = classes->as_array()[0].as_string();
        for (const auto& [model_type, class_name] : kKnown) {
            if (name == class_name) of_class = model_type;
        }
        if (of_class.empty())
            return unsupported("the architecture " + shown(name) + " is not supported" + std::string(kRead));
    }
    if (type == nullptr) {
        if (of_class.empty())
            return malformed("model_type is missing, expected mixtral, mistral, ministral or llama");
        return std::string(of_class);
    }
    if (!type->is_string()) return malformed("model_type is " + value_text(*type) + ", expected a name");
    const std::string& name = type->as_string();
    const bool known =
        std::any_of(kKnown.begin(), kKnown.end(), [&](const auto& entry) { return entry.first == name; });
    if (!known)
        return unsupported("the model_type " + shown(name) + " is not supported" + std::string(kRead));
    if (!of_class.empty() && of_class != name) {
        return malformed("model_type is " + shown(name) + ", but architectures names " +
                         value_text(*classes));
    }
    return name;
}

// Settings that change what is computed. The value that leaves the computation as it is passes; any other
// is refused by name.
Status refuse_unsupported(const Fields& config) {
    static const std::array<std::pair<const char*, json::Value>, 8> kNeutral{{
        {"hidden_act", "silu"},
        {"attention_bias", false},
        {"mlp_bias", false},
        {"rope_interleaved", false},
        {"partial_rotary_factor", 1},
        {"quantization_config", nullptr},
        {"auto_map", nullptr},
        {"is_encoder_decoder", false},
    }};
    for (const auto& [key, neutral] : kNeutral) OSTAL_TRYV(config.only(key, neutral));
    return {};
}

// The window of the model: sliding_window, with the class's own default; nothing where there is none.
Result<std::optional<std::int32_t>> read_window(const Fields& config, const ModelConfig& model) {
    OSTAL_TRY(const bool used, config.boolean("use_sliding_window", true));
    const bool is_mistral = model.architecture == "mistral" || model.architecture == "ministral";
    // MistralConfig and MinistralConfig: 4096 where the member is absent, none where it is null.
    const bool assumed = is_mistral && !config.object().contains("sliding_window");
    if (!used || (!assumed && config.given("sliding_window") == nullptr))
        return std::optional<std::int32_t>();
    OSTAL_TRY(const std::int32_t window, config.size("sliding_window", kMaxContext, 4096));
    // The implementation of Llama models does not look at the member.
    if (model.architecture == "llama" && window < model.context) {
        return unsupported("sliding_window is " + std::to_string(window) +
                           " in a model of type llama, below its context of " +
                           std::to_string(model.context) + " tokens, which is not supported");
    }
    return std::optional(window);
}

// For each layer, whether the window holds in it: layer_types, or sliding_window_pattern (the last of so many
// layers sees all), else every layer.
Result<std::vector<bool>> read_sliding_layers(const Fields& config, const ModelConfig& model) {
    std::vector<bool> sliding(static_cast<std::size_t>(model.layers), true);
    OSTAL_TRY(const std::int32_t pattern,
              config.size("sliding_window_pattern", kMaxLayers, std::int32_t{kMaxLayers + 1}));
    for (std::size_t i = 0; i < sliding.size(); ++i)
        sliding[i] = (i + 1) % static_cast<std::size_t>(pattern) != 0;
    const json::Value* types = config.given("layer_types");
    if (types == nullptr) return sliding;
    if (!types->is_array() || types->as_array().size() != sliding.size()) {
        return malformed("layer_types is " + value_text(*types) + ", expected a list of " +
                         std::to_string(model.layers) + " names (num_hidden_layers)");
    }
    for (std::size_t i = 0; i < sliding.size(); ++i) {
        const json::Value& type = types->as_array()[i];
        if (!(type == json::Value("sliding_attention")) && !(type == json::Value("full_attention"))) {
            return unsupported("layer_types holds " + value_text(type) +
                               ", which is not supported; only \"full_attention\" and "
                               "\"sliding_attention\" are");
        }
        const bool slides = type == json::Value("sliding_attention");
        if (config.given("sliding_window_pattern") != nullptr && slides != sliding[i]) {
            return malformed("layer_types and sliding_window_pattern are both given, and layer " +
                             std::to_string(i) + " is not the same in them");
        }
        sliding[i] = slides;
    }
    return sliding;
}

Status read_windows(const Fields& config, ModelConfig& model) {
    OSTAL_TRY(const auto window, read_window(config, model));
    OSTAL_TRY(const std::vector<bool> sliding, read_sliding_layers(config, model));
    const bool named = config.given("layer_types") != nullptr;
    if (!window && named && std::find(sliding.begin(), sliding.end(), true) != sliding.end())
        return malformed("layer_types holds \"sliding_attention\", but sliding_window names no window");
    std::vector<std::int32_t> windows;
    for (const bool slides : sliding) windows.push_back(slides ? window.value_or(0) : 0);
    config::set_windows(model, std::move(windows));
    return {};
}

Result<ModelConfig> read_config(const Fields& config) {
    ModelConfig out;
    OSTAL_TRY(out.architecture, read_architecture(config));
    OSTAL_TRYV(refuse_unsupported(config));
    OSTAL_TRY(out.layers, config.size("num_hidden_layers", kMaxLayers));
    OSTAL_TRY(out.dim, config.size("hidden_size", kMaxDim));
    OSTAL_TRY(out.heads, config.size("num_attention_heads", kMaxHeads));
    const bool is_llama = out.architecture == "llama";
    OSTAL_TRY(out.kv_heads, config.size("num_key_value_heads", kMaxHeads,
                                        is_llama ? std::optional(out.heads) : std::nullopt));
    if (config.given("head_dim") == nullptr && out.dim % out.heads != 0) {
        return malformed("hidden_size is " + std::to_string(out.dim) +
                         ", expected a multiple of num_attention_heads (" + std::to_string(out.heads) +
                         ") where head_dim is not given");
    }
    OSTAL_TRY(out.head_dim, config.size("head_dim", kMaxHeadDim, out.dim / out.heads));
    if (out.head_dim > kMaxHeadDim) {
        return malformed("head_dim is " + std::to_string(out.head_dim) +
                         " (hidden_size / num_attention_heads), expected 1 to " +
                         std::to_string(kMaxHeadDim));
    }
    OSTAL_TRY(out.ffn, config.size("intermediate_size", kMaxFfn));
    OSTAL_TRY(out.vocab, config.size("vocab_size", kMaxVocab));
    OSTAL_TRY(out.context, config.size("max_position_embeddings", kMaxContext));
    if (out.architecture == "mixtral") {
        OSTAL_TRY(out.experts, config.size("num_local_experts", kMaxExperts));
        OSTAL_TRY(out.experts_per_token, config.size("num_experts_per_tok", kMaxExperts));
    } else if (const json::Value* experts = config.given("num_local_experts")) {
        return unsupported("num_local_experts is " + value_text(*experts) + " in a model of type " +
                           out.architecture + "; experts are supported in mixtral");
    }
    OSTAL_TRYV(config::read_hf_rope(config, out));
    OSTAL_TRYV(read_windows(config, out));
    OSTAL_TRY(const double eps, config.number("rms_norm_eps", kLeastNormEps, kMaxNormEps));
    out.norm_eps = static_cast<float>(eps);
    OSTAL_TRY(out.tied_embeddings, config.boolean("tie_word_embeddings", false));
    // Absent, not null: the classes' own defaults.
    if (!config.object().contains("bos_token_id")) out.bos = 1;
    OSTAL_TRY(const auto bos, config.ids("bos_token_id"));
    if (bos.size() > 1) return malformed("bos_token_id is a list, expected one token id");
    if (!bos.empty()) out.bos = bos[0];
    OSTAL_TRY(out.eos, config.ids("eos_token_id"));
    if (!config.object().contains("eos_token_id")) out.eos = {2};
    OSTAL_TRYV(config::check_consistent(out, kNames));
    OSTAL_TRYV(config::check_ids(out));
    return out;
}

}  // namespace

std::string_view rope_kind_name(RopeKind kind) {
    switch (kind) {
        case RopeKind::kPlain: return "plain";
        case RopeKind::kLinear: return "linear";
        case RopeKind::kDynamic: return "dynamic";
        case RopeKind::kYarn: return "yarn";
        case RopeKind::kLlama3: return "llama3";
        case RopeKind::kDivisors: return "divisors";
    }
    CHECK_UNREACHABLE("RoPE scaling");
}

Result<ModelConfig> parse_model_config(std::string_view config_json) {
    auto config = config::parse_object(config_json).and_then([](const json::Value& value) {
        return read_config(Fields(value.as_object()));
    });
    if (!config) return fail(std::move(config).error().with("while reading config.json"));
    return config;
}

Status add_generation_config(std::string_view generation_config_json, ModelConfig& config) {
    ModelConfig changed = config;
    auto read = [&]() -> Status {
        OSTAL_TRY(const json::Value value, config::parse_object(generation_config_json));
        OSTAL_TRY(const auto eos, Fields(value.as_object()).ids("eos_token_id"));
        for (const TokenId id : eos) {
            if (std::find(changed.eos.begin(), changed.eos.end(), id) == changed.eos.end())
                changed.eos.push_back(id);
        }
        return config::check_ids(changed);
    }();
    if (!read) return fail(std::move(read).error().with("while reading generation_config.json"));
    config = std::move(changed);
    return {};
}

}  // namespace ostal::engine
