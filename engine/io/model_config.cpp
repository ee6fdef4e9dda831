#include "engine/io/model_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/json.h"
#include "engine/io/model_limits.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine {
namespace {

constexpr std::size_t kMaxEos = 16;
constexpr std::size_t kMaxConfigBytes = 1 << 20;

tl::unexpected<Error> malformed(std::string message) {
    return fail(Code::kInvalidArgument, std::move(message));
}
tl::unexpected<Error> unsupported(std::string message) {
    return fail(Code::kUnsupported, std::move(message));
}

std::string value_text(const json::Value& value) {
    const std::string text = json::to_string(value);
    return text.size() <= 80 ? text : text.substr(0, utf8_complete_prefix(text.substr(0, 80))) + "...";
}

Result<std::int32_t> bounded(std::string_view field, std::int64_t value, std::int64_t least,
                             std::int64_t most) {
    if (value < least || value > most) {
        return malformed(std::string(field) + " is " + std::to_string(value) + ", expected " +
                         std::to_string(least) + " to " + std::to_string(most));
    }
    return static_cast<std::int32_t>(value);
}

Status check_ids(const ModelConfig& config) {
    const auto check_id = [&](std::string_view field, TokenId id) -> Status {
        if (id < config.vocab) return {};
        return malformed(std::string(field) + " is " + std::to_string(id) +
                         ", expected below the vocabulary size " + std::to_string(config.vocab));
    };
    OSTAL_TRYV(check_id("bos_token_id", config.bos));
    for (const TokenId id : config.eos) OSTAL_TRYV(check_id("eos_token_id", id));
    return {};
}

// Relations between fields that hold for every source format. The names are those of config.json.
Status check_consistent(const ModelConfig& config) {
    if (config.heads % config.kv_heads != 0) {
        return malformed("num_attention_heads is " + std::to_string(config.heads) +
                         ", expected a multiple of num_key_value_heads (" + std::to_string(config.kv_heads) +
                         ")");
    }
    if (config.head_dim % 2 != 0) {
        return malformed("head_dim is " + std::to_string(config.head_dim) + ", expected an even number");
    }
    if (config.experts_per_token > config.experts) {
        return malformed("num_experts_per_tok is " + std::to_string(config.experts_per_token) +
                         ", expected at most the number of experts (" + std::to_string(config.experts) + ")");
    }
    return check_ids(config);
}

// ---- config.json ----

// A present member that is not null.
const json::Value* given(const json::Object& config, std::string_view key) {
    const json::Value* value = config.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::int32_t> read_size(const json::Object& config, std::string_view key, std::int64_t most,
                               std::optional<std::int32_t> otherwise = std::nullopt) {
    const json::Value* value = given(config, key);
    if (value == nullptr) {
        if (otherwise) return *otherwise;
        return malformed(std::string(key) + " is missing, expected an integer from 1 to " +
                         std::to_string(most));
    }
    const auto number = value->to_int64();
    if (!number) {
        return malformed(std::string(key) + " is " + value_text(*value) + ", expected an integer from 1 to " +
                         std::to_string(most));
    }
    return bounded(key, *number, 1, most);
}

Result<double> read_number(const json::Object& config, std::string_view key, double least, double most,
                           std::optional<double> otherwise) {
    const json::Value* value = given(config, key);
    if (value == nullptr && otherwise) return *otherwise;
    if (value != nullptr && value->is_number() && value->as_double() >= least && value->as_double() <= most) {
        return value->as_double();
    }
    return malformed(std::string(key) + " is " + (value == nullptr ? "missing" : value_text(*value)) +
                     ", expected a number from " + json::to_string(json::Value(least)) + " to " +
                     json::to_string(json::Value(most)));
}

Result<bool> read_bool(const json::Object& config, std::string_view key, bool otherwise) {
    const json::Value* value = given(config, key);
    if (value == nullptr) return otherwise;
    if (!value->is_bool())
        return malformed(std::string(key) + " is " + value_text(*value) + ", expected true or false");
    return value->as_bool();
}

// An id, a list of ids, or null.
Result<std::vector<TokenId>> read_ids(const json::Object& config, std::string_view key) {
    std::vector<TokenId> ids;
    const json::Value* value = given(config, key);
    if (value == nullptr) return ids;
    const json::Array single{*value};
    const json::Array& values = value->is_array() ? value->as_array() : single;
    for (const json::Value& entry : values) {
        const auto id = entry.to_int64();
        if (!id || *id < 0 || *id >= kMaxVocab || values.size() > kMaxEos) {
            return malformed(std::string(key) + " is " + value_text(*value) +
                             ", expected a token id or a list of at most " + std::to_string(kMaxEos));
        }
        if (std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(static_cast<TokenId>(*id));
    }
    return ids;
}

Result<std::string> read_architecture(const json::Object& config) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kKnown{{
        {"mixtral", "MixtralForCausalLM"},
        {"mistral", "MistralForCausalLM"},
        {"llama", "LlamaForCausalLM"},
    }};
    constexpr std::string_view kRead = "; mixtral, mistral and llama are read";
    const json::Value* type = given(config, "model_type");
    const json::Value* classes = given(config, "architectures");
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
        if (of_class.empty()) return malformed("model_type is missing, expected mixtral, mistral or llama");
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
Status refuse_unsupported(const json::Object& config) {
    struct Neutral {
        std::string_view key;
        json::Value value;  // beside null and absent
    };
    static const std::array<Neutral, 8> kNeutral{{
        {"hidden_act", "silu"},
        {"attention_bias", false},
        {"mlp_bias", false},
        {"rope_interleaved", false},
        {"partial_rotary_factor", 1},
        {"quantization_config", nullptr},
        {"auto_map", nullptr},
        {"is_encoder_decoder", false},
    }};
    for (const Neutral& setting : kNeutral) {
        const json::Value* value = given(config, setting.key);
        if (value == nullptr || *value == setting.value) continue;
        if (value->is_number() && setting.value.is_number() &&
            value->as_double() == setting.value.as_double())
            continue;
        return unsupported(std::string(setting.key) + " is " + value_text(*value) +
                           ", which is not supported; only " + value_text(setting.value) + " is");
    }
    if (const json::Value* layers = given(config, "layer_types")) {
        if (!layers->is_array())
            return malformed("layer_types is " + value_text(*layers) + ", expected a list of names");
        for (const json::Value& layer : layers->as_array()) {
            if (layer == json::Value("full_attention")) continue;
            return unsupported("layer_types holds " + value_text(layer) +
                               ", which is not supported; only \"full_attention\" is");
        }
    }
    return {};
}

// rope_scaling, or rope_parameters as transformers 5 writes it. Only the plain kind is computed here.
Status read_rope(const json::Object& config, ModelConfig& out) {
    const auto read_theta = [](const json::Object& from, std::optional<double> otherwise) {
        return read_number(from, "rope_theta", kLeastRopeTheta, kMaxRopeTheta, otherwise);
    };
    // The three classes' own defaults differ; only the two of 10,000 are taken for granted.
    const bool nested = given(config, "rope_parameters") != nullptr;
    const bool has_default = nested || out.architecture != "mixtral";
    OSTAL_TRY(out.rope_theta, read_theta(config, has_default ? std::optional(10000.0) : std::nullopt));
    for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
        const json::Value* rope = given(config, key);
        if (rope == nullptr) continue;
        if (!rope->is_object())
            return malformed(std::string(key) + " is " + value_text(*rope) + ", expected an object or null");
        for (const auto& [name, value] : rope->as_object()) {
            const bool is_type = name == "rope_type" || name == "type";
            if (is_type && value == json::Value("default")) continue;
            if (name == "rope_theta") {
                OSTAL_TRY(out.rope_theta, read_theta(rope->as_object(), std::nullopt));
                continue;
            }
            return unsupported(std::string(key) + " is " + value_text(*rope) +
                               ", which is not supported; only the default is");
        }
    }
    return {};
}

// A window as long as the context is none. MistralConfig's own default is a window of 4096 tokens.
Status check_window(const json::Object& config, const ModelConfig& model) {
    OSTAL_TRY(const bool used, read_bool(config, "use_sliding_window", true));
    if (!used) return {};
    const json::Value assumed(4096);
    const json::Value* window = given(config, "sliding_window");
    if (model.architecture == "mistral" && !config.contains("sliding_window")) window = &assumed;
    if (window == nullptr) return {};
    const auto tokens = window->to_int64();
    if (!tokens || *tokens < 1) {
        return malformed("sliding_window is " + value_text(*window) +
                         ", expected null or a number of tokens");
    }
    if (*tokens >= model.context) return {};
    return unsupported(
        "sliding_window is " + std::to_string(*tokens) +
        (window == &assumed ? " (the default of a mistral model that does not name it)" : "") +
        ", below the context of " + std::to_string(model.context) +
        " tokens (max_position_embeddings), and attention over a window is not supported; lower "
        "max_position_embeddings to the window to use the model within it");
}

Result<ModelConfig> read_config(const json::Object& config) {
    ModelConfig out;
    OSTAL_TRY(out.architecture, read_architecture(config));
    OSTAL_TRYV(refuse_unsupported(config));
    OSTAL_TRY(out.layers, read_size(config, "num_hidden_layers", kMaxLayers));
    OSTAL_TRY(out.dim, read_size(config, "hidden_size", kMaxDim));
    OSTAL_TRY(out.heads, read_size(config, "num_attention_heads", kMaxHeads));
    const bool is_llama = out.architecture == "llama";
    OSTAL_TRY(out.kv_heads, read_size(config, "num_key_value_heads", kMaxHeads,
                                      is_llama ? std::optional(out.heads) : std::nullopt));
    if (given(config, "head_dim") == nullptr && out.dim % out.heads != 0) {
        return malformed("hidden_size is " + std::to_string(out.dim) +
                         ", expected a multiple of num_attention_heads (" + std::to_string(out.heads) +
                         ") where head_dim is not given");
    }
    OSTAL_TRY(out.head_dim, read_size(config, "head_dim", kMaxHeadDim, out.dim / out.heads));
    OSTAL_TRYV(bounded("head_dim", out.head_dim, 1, kMaxHeadDim));
    OSTAL_TRY(out.ffn, read_size(config, "intermediate_size", kMaxFfn));
    OSTAL_TRY(out.vocab, read_size(config, "vocab_size", kMaxVocab));
    OSTAL_TRY(out.context, read_size(config, "max_position_embeddings", kMaxContext));
    if (out.architecture == "mixtral") {
        OSTAL_TRY(out.experts, read_size(config, "num_local_experts", kMaxExperts));
        OSTAL_TRY(out.experts_per_token, read_size(config, "num_experts_per_tok", kMaxExperts));
    } else if (const json::Value* experts = given(config, "num_local_experts")) {
        return unsupported("num_local_experts is " + value_text(*experts) + " in a model of type " +
                           out.architecture + "; experts are supported in mixtral");
    }
    OSTAL_TRYV(read_rope(config, out));
    OSTAL_TRYV(check_window(config, out));
    OSTAL_TRY(const double eps,
              read_number(config, "rms_norm_eps", kLeastNormEps, kMaxNormEps, std::nullopt));
    out.norm_eps = static_cast<float>(eps);
    OSTAL_TRY(out.tied_embeddings, read_bool(config, "tie_word_embeddings", false));
    // Absent, not null: the classes' own defaults.
    if (!config.contains("bos_token_id")) out.bos = 1;
    OSTAL_TRY(const auto bos, read_ids(config, "bos_token_id"));
    if (bos.size() > 1) return malformed("bos_token_id is a list, expected one token id");
    if (!bos.empty()) out.bos = bos[0];
    OSTAL_TRY(out.eos, read_ids(config, "eos_token_id"));
    if (!config.contains("eos_token_id")) out.eos = {2};
    OSTAL_TRYV(check_consistent(out));
    return out;
}

Result<json::Value> parse_object(std::string_view text) {
    OSTAL_TRY(json::Value value, json::parse(text, {.max_depth = 64, .max_bytes = kMaxConfigBytes}));
    if (!value.is_object())
        return malformed("expected a JSON object, found a value of type " + std::string(value.type_name()));
    return value;
}

}  // namespace

Result<ModelConfig> parse_model_config(std::string_view config_json) {
    auto config = parse_object(config_json).and_then([](const json::Value& value) {
        return read_config(value.as_object());
    });
    if (!config) return fail(std::move(config).error().with("while reading config.json"));
    return config;
}

Status add_generation_config(std::string_view generation_config_json, ModelConfig& config) {
    ModelConfig changed = config;
    auto read = [&]() -> Status {
        OSTAL_TRY(const json::Value value, parse_object(generation_config_json));
        OSTAL_TRY(const auto eos, read_ids(value.as_object(), "eos_token_id"));
        for (const TokenId id : eos) {
            if (std::find(changed.eos.begin(), changed.eos.end(), id) == changed.eos.end())
                changed.eos.push_back(id);
        }
        return check_ids(changed);
    }();
    if (!read) return fail(std::move(read).error().with("while reading generation_config.json"));
    config = std::move(changed);
    return {};
}

}  // namespace ostal::engine
