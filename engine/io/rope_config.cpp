#include "engine/io/rope_config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/io/gguf.h"
#include "engine/io/model_limits.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine::config {
namespace {

constexpr double kLeastBeta = 1e-3;
constexpr double kMaxBeta = 1e6;
constexpr double kLeastAttentionFactor = 1e-2;
constexpr double kMaxAttentionFactor = 100.0;

std::string number_text(double value) { return json::to_string(json::Value(value)); }

// YaRN's ramp needs a falling row of frequencies, and its two ends in order.
Status check_yarn(const RopeScaling& yarn, double theta, std::string_view fast, std::string_view slow) {
    if (!(theta > 1.0)) return malformed("rope_theta is " + number_text(theta) + ", YaRN needs one above 1");
    if (yarn.beta_fast > yarn.beta_slow) return {};
    return malformed(std::string(fast) + " is " + number_text(yarn.beta_fast) + ", expected above " +
                     std::string(slow) + " (" + number_text(yarn.beta_slow) + ")");
}

// ---- config.json ----

// The members `type` and `rope_type`, which mean the same.
Result<std::string> read_kind(const Fields& rope) {
    const json::Value* kind = nullptr;
    for (const char* key : {"rope_type", "type"}) {
        const json::Value* value = rope.given(key);
        if (value == nullptr) continue;
        if (!value->is_string())
            return malformed(rope.name(key) + " is " + value_text(*value) + ", expected a name");
        if (kind != nullptr && !(*kind == *value)) {
            return malformed(rope.name("rope_type") + " is " + value_text(*kind) + ", but " +
                             rope.name("type") + " is " + value_text(*value));
        }
        kind = value;
    }
    return kind == nullptr ? std::string("default") : kind->as_string();
}

Result<double> read_factor(const Fields& rope) { return rope.number("factor", 1.0, kMaxRopeFactor); }

Result<std::int32_t> read_original_context(const Fields& rope, std::optional<std::int32_t> otherwise) {
    return rope.size("original_max_position_embeddings", kMaxContext, otherwise);
}

// attention_factor, else by mscale and mscale_all_dim, else by the factor alone.
Result<double> read_attention_factor(const Fields& rope, double factor) {
    OSTAL_TRY(const double mscale, rope.number("mscale", 0.0, kMaxAttentionFactor, 0.0));
    OSTAL_TRY(const double mscale_all, rope.number("mscale_all_dim", 0.0, kMaxAttentionFactor, 0.0));
    double otherwise = yarn_mscale(factor);
    if (mscale != 0.0 && mscale_all != 0.0)
        otherwise = yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all);
    return rope.number("attention_factor", kLeastAttentionFactor, kMaxAttentionFactor, otherwise);
}

Result<RopeScaling> read_yarn(const Fields& rope, const ModelConfig& model) {
    OSTAL_TRYV(
        rope.refuse_others({"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor",
                            "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
                            "mscale", "mscale_all_dim", "truncate", "finetuned", "llama_4_scaling_beta"}));
    OSTAL_TRYV(rope.only("llama_4_scaling_beta", 0));
    RopeScaling out{.kind = RopeKind::kYarn};
    OSTAL_TRY(out.factor, read_factor(rope));
    OSTAL_TRY(out.original_context, read_original_context(rope, model.context));
    // transformers before 5 computes with this quotient, later with the factor: where they differ, no one
    // knows what the model was made for.
    const bool named = rope.given("original_max_position_embeddings") != nullptr;
    const double stretched = out.factor * out.original_context;
    if (named && std::abs(stretched - model.context) > 1e-6 * model.context) {
        return malformed(rope.name("factor") + " is " + number_text(out.factor) + ", but " +
                         "max_position_embeddings (" + std::to_string(model.context) +
                         ") is not that many times " + rope.name("original_max_position_embeddings") + " (" +
                         std::to_string(out.original_context) + ")");
    }
    OSTAL_TRY(out.beta_fast, rope.number("beta_fast", kLeastBeta, kMaxBeta, 32.0));
    OSTAL_TRY(out.beta_slow, rope.number("beta_slow", kLeastBeta, kMaxBeta, 1.0));
    OSTAL_TRY(out.truncate, rope.boolean("truncate", true));
    OSTAL_TRY(out.attention_factor, read_attention_factor(rope, out.factor));
    OSTAL_TRYV(check_yarn(out, model.rope_theta, rope.name("beta_fast"), rope.name("beta_slow")));
    return out;
}

Result<RopeScaling> read_llama3(const Fields& rope) {
    OSTAL_TRYV(
        rope.refuse_others({"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor",
                            "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}));
    RopeScaling out{.kind = RopeKind::kLlama3};
    OSTAL_TRY(out.factor, read_factor(rope));
    OSTAL_TRY(out.original_context, read_original_context(rope, std::nullopt));
    OSTAL_TRY(out.low_frequency_factor, rope.number("low_freq_factor", kLeastBeta, kMaxBeta));
    OSTAL_TRY(out.high_frequency_factor, rope.number("high_freq_factor", kLeastBeta, kMaxBeta));
    if (out.high_frequency_factor > out.low_frequency_factor) return out;
    return malformed(rope.name("high_freq_factor") + " is " + number_text(out.high_frequency_factor) +
                     ", expected above " + rope.name("low_freq_factor") + " (" +
                     number_text(out.low_frequency_factor) + ")");
}

Result<RopeScaling> read_scaling(const Fields& rope, const ModelConfig& model) {
    OSTAL_TRYV(rope.only("partial_rotary_factor", 1));
    OSTAL_TRY(const std::string kind, read_kind(rope));
    if (kind == "yarn") return read_yarn(rope, model);
    if (kind == "llama3") return read_llama3(rope);
    RopeScaling out;
    if (kind == "default") {
        OSTAL_TRYV(rope.refuse_others({"type", "rope_type", "rope_theta", "partial_rotary_factor"}));
        return out;
    }
    if (kind == "linear") {
        OSTAL_TRYV(
            rope.refuse_others({"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor"}));
        out.kind = RopeKind::kLinear;
        OSTAL_TRY(out.factor, read_factor(rope));
        return out;
    }
    if (kind == "dynamic") {
        OSTAL_TRYV(rope.refuse_others({"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor",
                                       "original_max_position_embeddings"}));
        out.kind = RopeKind::kDynamic;
        OSTAL_TRY(out.factor, read_factor(rope));
        OSTAL_TRY(out.original_context, read_original_context(rope, model.context));
        return out;
    }
    return unsupported("the RoPE scaling " + shown(kind) + " (" + rope.name("rope_type") +
                       ") is not supported; linear, dynamic, yarn and llama3 are");
}

// ---- GGUF ----

Result<std::optional<double>> gguf_number(const GgufFile& file, const std::string& key, double least,
                                          double most) {
    OSTAL_TRY(const auto value, file.number(key));
    if (!value || (*value >= least && *value <= most)) return value;
    return malformed(key + " is " + number_text(*value) + ", expected a number from " + number_text(least) +
                     " to " + number_text(most));
}

Result<RopeScaling> read_gguf_yarn(const GgufFile& file, const ModelConfig& model, double factor) {
    const std::string prefix = "llama.rope.scaling.";
    RopeScaling out{.kind = RopeKind::kYarn, .factor = factor, .original_context = model.context};
    OSTAL_TRY(const auto original, file.integer(prefix + "original_context_length"));
    if (original && (*original < 1 || *original > kMaxContext)) {
        return malformed(prefix + "original_context_length is " + std::to_string(*original) +
                         ", expected 1 to " + std::to_string(kMaxContext));
    }
    if (original) out.original_context = static_cast<std::int32_t>(*original);
    OSTAL_TRY(const auto fast, gguf_number(file, prefix + "yarn_beta_fast", kLeastBeta, kMaxBeta));
    OSTAL_TRY(const auto slow, gguf_number(file, prefix + "yarn_beta_slow", kLeastBeta, kMaxBeta));
    out.beta_fast = fast.value_or(32.0);
    out.beta_slow = slow.value_or(1.0);
    out.attention_factor = yarn_mscale(factor);
    for (const char* key : {"attn_factor", "yarn_attn_factor"}) {
        OSTAL_TRY(const auto more,
                  gguf_number(file, prefix + key, kLeastAttentionFactor, kMaxAttentionFactor));
        out.attention_factor *= more.value_or(1.0);
    }
    OSTAL_TRYV(check_yarn(out, model.rope_theta, prefix + "yarn_beta_fast", prefix + "yarn_beta_slow"));
    return out;
}

}  // namespace

double yarn_mscale(double factor, double mscale) {
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

Status read_hf_rope(const Fields& config, ModelConfig& out) {
    // The defaults of the configuration classes.
    const double otherwise = out.architecture == "mixtral" ? 1e6 : 1e4;
    OSTAL_TRY(out.rope_theta, config.number("rope_theta", kLeastRopeTheta, kMaxRopeTheta, otherwise));
    bool read = false;
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
        OSTAL_TRY(const auto rope, config.fields(key));
        if (!rope) continue;
        OSTAL_TRY(out.rope_theta, rope->number("rope_theta", kLeastRopeTheta, kMaxRopeTheta, out.rope_theta));
        OSTAL_TRY(const RopeScaling scaling, read_scaling(*rope, out));
        if (read && scaling != out.rope_scaling)
            return malformed("rope_scaling and rope_parameters are both given and do not say the same");
        out.rope_scaling = scaling;
        read = true;
    }
    if (out.rope_scaling.kind == RopeKind::kDynamic)
        out.context = std::min(out.context, out.rope_scaling.original_context);
    return {};
}

Result<RopeScaling> read_mistral_yarn(const Fields& yarn, double theta) {
    OSTAL_TRYV(
        yarn.refuse_others({"factor", "original_max_position_embeddings", "beta", "alpha", "apply_scale"}));
    RopeScaling out{.kind = RopeKind::kYarn};
    OSTAL_TRY(out.factor, read_factor(yarn));
    OSTAL_TRY(out.original_context, read_original_context(yarn, std::nullopt));
    OSTAL_TRY(out.beta_fast, yarn.number("beta", kLeastBeta, kMaxBeta, 32.0));
    OSTAL_TRY(out.beta_slow, yarn.number("alpha", kLeastBeta, kMaxBeta, 1.0));
    OSTAL_TRY(const bool apply_scale, yarn.boolean("apply_scale", true));
    if (apply_scale) out.attention_factor = yarn_mscale(out.factor);
    OSTAL_TRYV(check_yarn(out, theta, yarn.name("beta"), yarn.name("alpha")));
    return out;
}

Status read_gguf_rope(const GgufFile& file, ModelConfig& out) {
    OSTAL_TRY(const auto theta, gguf_number(file, "llama.rope.freq_base", kLeastRopeTheta, kMaxRopeTheta));
    out.rope_theta = theta.value_or(10000.0);
    const std::string type_key = "llama.rope.scaling.type";
    OSTAL_TRY(const auto type, file.text(type_key));
    OSTAL_TRY(auto factor, gguf_number(file, "llama.rope.scaling.factor", 1.0, kMaxRopeFactor));
    if (!factor) {
        OSTAL_TRY(factor, gguf_number(file, "llama.rope.scale_linear", 1.0, kMaxRopeFactor));
    }
    const double by = factor.value_or(1.0);
    // llama.cpp takes a factor without a type for a linear one.
    if (!type || *type == "linear") {
        if (by != 1.0) out.rope_scaling = {.kind = RopeKind::kLinear, .factor = by};
    } else if (*type == "yarn") {
        OSTAL_TRY(out.rope_scaling, read_gguf_yarn(file, out, by));
    } else if (*type != "none") {
        return unsupported(type_key + " is " + shown(*type) +
                           ", which is not supported; none, linear and yarn are");
    }
    if (file.find_tensor("rope_freqs.weight") == nullptr) return {};
    if (out.rope_scaling.kind != RopeKind::kPlain)
        return malformed(type_key + " names a scaling beside the tensor rope_freqs.weight, which is another");
    out.rope_scaling.kind = RopeKind::kDivisors;
    return {};
}

}  // namespace ostal::engine::config
