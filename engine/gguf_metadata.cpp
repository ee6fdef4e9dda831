#include "engine/gguf_metadata.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "base/json.h"
#include "engine/io/rope_config.h"
#include "engine/model/rope.h"
#include "engine/source_tokenizer.h"

namespace ostal::engine {
namespace {

constexpr std::uint64_t kMaxTextBytes = 16ULL << 20U;

tl::unexpected<Error> unsupported(std::string what) {
    return fail(Code::kUnsupported, "a GGUF file cannot hold " + std::move(what));
}

Status add_rope_scaling(const ModelConfig& config, GgufHeader& header) {
    const RopeScaling& scaling = config.rope_scaling;
    const std::string prefix = "llama.rope.scaling.";
    switch (scaling.kind) {
        case RopeKind::kPlain:
        case RopeKind::kDynamic:   // plain within the context that it leaves
        case RopeKind::kLlama3:    // gguf_rope_divisors()
        case RopeKind::kDivisors:  // a tensor of the source
            return {};
        case RopeKind::kLinear:
            header.add_text(prefix + "type", "linear");
            header.add_f32(prefix + "factor", static_cast<float>(scaling.factor));
            return {};
        case RopeKind::kYarn: break;
    }
    if (!scaling.truncate) return unsupported("YaRN without truncate");
    header.add_text(prefix + "type", "yarn");
    header.add_f32(prefix + "factor", static_cast<float>(scaling.factor));
    header.add_u32(prefix + "original_context_length", static_cast<std::uint32_t>(scaling.original_context));
    header.add_f32(prefix + "yarn_beta_fast", static_cast<float>(scaling.beta_fast));
    header.add_f32(prefix + "yarn_beta_slow", static_cast<float>(scaling.beta_slow));
    // Readers multiply it onto what the factor alone gives.
    header.add_f32(prefix + "attn_factor",
                   static_cast<float>(scaling.attention_factor / config::yarn_mscale(scaling.factor)));
    return {};
}

// One window, and which layers have it where not all do.
Status add_windows(const ModelConfig& config, GgufHeader& header) {
    std::set<std::int32_t> windows(config.windows.begin(), config.windows.end());
    const bool in_every_layer = windows.erase(0) == 0;
    if (windows.empty()) return {};
    if (windows.size() > 1) return unsupported("attention windows of more than one size");
    const std::string key = "llama.attention.sliding_window";
    header.add_u32(key, static_cast<std::uint32_t>(*windows.begin()));
    if (in_every_layer) return {};
    std::vector<bool> slides;
    for (const std::int32_t window : config.windows) slides.push_back(window > 0);
    header.add_bools(key + "_pattern", slides);
    return {};
}

Status add_config(const ModelConfig& config, GgufHeader& header) {
    const auto size = [&](const char* key, std::int32_t value) {
        header.add_u32(std::string("llama.") + key, static_cast<std::uint32_t>(value));
    };
    header.add_text("general.architecture", "llama");
    size("vocab_size", config.vocab);
    size("context_length", config.context);
    size("embedding_length", config.dim);
    size("block_count", config.layers);
    size("feed_forward_length", config.ffn);
    size("rope.dimension_count", config.head_dim);
    header.add_f32("llama.rope.freq_base", static_cast<float>(config.rope_theta));
    size("attention.head_count", config.heads);
    size("attention.head_count_kv", config.kv_heads);
    size("attention.key_length", config.head_dim);
    size("attention.value_length", config.head_dim);
    header.add_f32("llama.attention.layer_norm_rms_epsilon", config.norm_eps);
    if (config.experts > 0) {
        size("expert_count", config.experts);
        size("expert_used_count", config.experts_per_token);
    }
    OSTAL_TRYV(add_windows(config, header));
    return add_rope_scaling(config, header);
}

Status add_vocabulary(const EmbeddedVocabulary& vocabulary, const ModelConfig& config, GgufHeader& header) {
    header.add_text("tokenizer.ggml.model", vocabulary.model);
    header.add_text("tokenizer.ggml.pre", vocabulary.pre);
    header.add_texts("tokenizer.ggml.tokens", vocabulary.tokens);
    if (!vocabulary.scores.empty()) header.add_f32s("tokenizer.ggml.scores", vocabulary.scores);
    header.add_i32s("tokenizer.ggml.token_type", vocabulary.token_types);
    if (!vocabulary.merges.empty()) header.add_texts("tokenizer.ggml.merges", vocabulary.merges);
    if (config.eos.size() > 2) {
        return unsupported(std::to_string(config.eos.size()) + " end tokens (eos_token_id), at most 2");
    }
    const std::pair<const char*, TokenId> ids[] = {
        {"bos", config.bos >= 0 ? config.bos : vocabulary.bos},
        {"eos", config.eos.empty() ? vocabulary.eos : config.eos[0]},
        {"eot", config.eos.size() < 2 ? TokenId{-1} : config.eos[1]},
        {"unknown", vocabulary.unknown},
    };
    for (const auto& [name, id] : ids) {
        if (id < 0) continue;
        header.add_u32("tokenizer.ggml." + std::string(name) + "_token_id", static_cast<std::uint32_t>(id));
    }
    const std::pair<const char*, std::optional<bool>> flags[] = {
        {"add_bos_token", vocabulary.add_bos},
        {"add_space_prefix", vocabulary.add_space_prefix},
        {"remove_extra_whitespaces", vocabulary.remove_extra_whitespaces},
    };
    for (const auto& [name, flag] : flags) {
        if (flag) header.add_bool("tokenizer.ggml." + std::string(name), *flag);
    }
    return {};
}

// Text of the template that a folder carries, in either place where it may stand.
std::optional<std::string> chat_template(const WeightSource& source) {
    if (const auto text = read_source_file(source, "chat_template.jinja", kMaxTextBytes)) {
        return std::string(as_text(*text));
    }
    const auto bytes = read_source_file(source, "tokenizer_config.json", kMaxTextBytes);
    const auto config = bytes ? json::parse(as_text(*bytes)) : Result<json::Value>(json::Value());
    const json::Value* text = config && config->is_object() ? config->find("chat_template") : nullptr;
    if (text == nullptr || !text->is_string()) return std::nullopt;
    return text->as_string();
}

// The metadata of a GGUF source, byte for byte, but for what this file says anew.
Status carry_over(const WeightSource& source, const GgufFile& gguf, bool with_tokenizer, GgufHeader& header) {
    constexpr std::string_view kOurs[] = {"general.file_type", "general.quantization_version",
                                          "general.alignment"};
    for (const GgufEntry& entry : gguf.entries()) {
        const std::string_view key = entry.key;
        if (std::find(std::begin(kOurs), std::end(kOurs), key) != std::end(kOurs)) continue;
        if (key.starts_with("split.") || key.starts_with("quantize.")) continue;
        if (!with_tokenizer && key.starts_with("tokenizer.ggml.")) continue;
        Bytes value(static_cast<std::size_t>(entry.bytes));
        OSTAL_TRYV(source.read(gguf.file(), entry.offset, value));
        header.add_stored(entry.key, value);
    }
    return {};
}

}  // namespace

Status add_gguf_metadata(const WeightSource& source, const ModelFiles& files, DType asked,
                         GgufHeader& header) {
    constexpr std::uint32_t kMostlyQ4_0 = 2, kMostlyQ8_0 = 7;  // values of general.file_type
    OSTAL_TRY(const auto vocabulary, source_vocabulary(source, files));
    if (files.gguf() != nullptr) {
        OSTAL_TRYV(carry_over(source, *files.gguf(), !vocabulary.has_value(), header));
    } else {
        OSTAL_TRYV(add_config(files.config(), header));
        const auto text = chat_template(source);
        if (text) header.add_text("tokenizer.chat_template", *text);
        if (!vocabulary) return fail(Code::kInvalidArgument, "the model has no tokenizer");
    }
    if (vocabulary) OSTAL_TRYV(add_vocabulary(*vocabulary, files.config(), header));
    header.add_u32("general.file_type", asked == DType::kQ4_0 ? kMostlyQ4_0 : kMostlyQ8_0);
    header.add_u32("general.quantization_version", 2);
    return {};
}

std::vector<float> gguf_rope_divisors(const ModelConfig& config) {
    if (config.rope_scaling.kind != RopeKind::kLlama3) return {};
    ModelConfig plain = config;
    plain.rope_scaling = {};
    const std::vector<double> before = rope_frequencies(plain, {});
    const std::vector<double> after = rope_frequencies(config, {});
    std::vector<float> divisors;
    for (std::size_t i = 0; i < before.size(); ++i) {
        divisors.push_back(static_cast<float>(before[i] / after[i]));
    }
    return divisors;
}

Status check_gguf_config(const ModelConfig& wanted, const ModelConfig& found) {
    // Numbers of the file have 24 bits.
    const auto same = [](double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); };
    ModelConfig expected = wanted;
    RopeScaling& scaling = expected.rope_scaling;
    const RopeScaling& read = found.rope_scaling;
    if (scaling.kind == RopeKind::kDynamic) scaling = {};
    if (scaling.kind == RopeKind::kLlama3) scaling = {.kind = RopeKind::kDivisors};
    for (double RopeScaling::*number : {&RopeScaling::factor, &RopeScaling::beta_fast,
                                        &RopeScaling::beta_slow, &RopeScaling::attention_factor}) {
        if (same(read.*number, scaling.*number)) scaling.*number = read.*number;
    }
    if (same(found.rope_theta, expected.rope_theta)) expected.rope_theta = found.rope_theta;
    expected.architecture = found.architecture;  // "mistral" and "llama" are one there
    if (expected.bos < 0) expected.bos = found.bos;
    if (expected.eos.empty()) expected.eos = found.eos;
    if (found == expected) return {};
    return unsupported("a setting of this model's configuration");
}

}  // namespace ostal::engine
