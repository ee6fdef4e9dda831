// ModelConfig from params.json. Members: TransformerArgs and MoeArgs of mistral-inference (args.py, moe.py),
// and those that newer releases add.
#include <algorithm>
#include <optional>

#include "engine/io/config_fields.h"
#include "engine/io/model_config.h"
#include "engine/io/model_limits.h"
#include "engine/io/rope_config.h"

namespace ostal::engine {
namespace {

using config::Fields;
using config::malformed;
using config::value_text;

constexpr config::FieldNames kNames{"n_heads", "n_kv_heads", "head_dim", "moe.num_experts",
                                    "moe.num_experts_per_tok"};
// The context of Mistral 7B and Mixtral 8x7B, whose params.json names none.
constexpr std::int32_t kUnnamedContext = 32768;

// What is read, and what does not change a result: max_batch_size sizes a cache of their program.
Status refuse_unsupported(const Fields& params) {
    OSTAL_TRYV(params.refuse_others({"dim",
                                     "n_layers",
                                     "head_dim",
                                     "hidden_dim",
                                     "n_heads",
                                     "n_kv_heads",
                                     "norm_eps",
                                     "vocab_size",
                                     "rope_theta",
                                     "sliding_window",
                                     "_sliding_window",
                                     "moe",
                                     "max_seq_len",
                                     "max_position_embeddings",
                                     "tied_embeddings",
                                     "yarn",
                                     "max_batch_size",
                                     "model_type",
                                     "activation",
                                     "causal",
                                     "use_biases"}));
    OSTAL_TRYV(params.only("model_type", "transformer"));
    OSTAL_TRYV(params.only("activation", "silu"));
    OSTAL_TRYV(params.only("causal", true));
    return params.only("use_biases", false);
}

Status read_experts(const Fields& params, ModelConfig& out) {
    OSTAL_TRY(const auto moe, params.fields("moe"));
    out.architecture = moe ? "mixtral" : "mistral";
    if (!moe) return {};
    OSTAL_TRYV(moe->refuse_others({"num_experts", "num_experts_per_tok", "num_shared_experts",
                                   "first_k_dense_replace", "routed_scale"}));
    OSTAL_TRYV(moe->only("num_shared_experts", 0));
    OSTAL_TRYV(moe->only("first_k_dense_replace", 0));
    OSTAL_TRYV(moe->only("routed_scale", 1));
    OSTAL_TRY(out.experts, moe->size("num_experts", kMaxExperts));
    OSTAL_TRY(out.experts_per_token, moe->size("num_experts_per_tok", kMaxExperts));
    return {};
}

// max_seq_len and max_position_embeddings, which must not differ; else what YaRN stretches to.
Status read_context(const Fields& params, ModelConfig& out) {
    const bool scaled = out.rope_scaling.kind == RopeKind::kYarn;
    const double stretched = out.rope_scaling.factor * out.rope_scaling.original_context;
    const auto otherwise =
        scaled ? static_cast<std::int32_t>(std::min(stretched, static_cast<double>(kMaxContext)))
               : kUnnamedContext;
    OSTAL_TRY(const std::int32_t positions, params.size("max_position_embeddings", kMaxContext, otherwise));
    OSTAL_TRY(out.context, params.size("max_seq_len", kMaxContext, positions));
    if (params.given("max_position_embeddings") == nullptr || out.context == positions) return {};
    return malformed("max_seq_len is " + std::to_string(out.context) + ", but max_position_embeddings is " +
                     std::to_string(positions));
}

// A number of tokens, or a list of numbers and nulls that repeats over the layers; the older name of the
// member has an underscore in front.
Status read_windows(const Fields& params, ModelConfig& out) {
    const char* key = params.given("sliding_window") != nullptr ? "sliding_window" : "_sliding_window";
    const json::Value* given = params.given(key);
    if (given == nullptr) return {};
    if (params.given("sliding_window") != nullptr && params.given("_sliding_window") != nullptr)
        return malformed("sliding_window and _sliding_window are both given");
    const json::Array single{*given};
    const json::Array& values = given->is_array() ? given->as_array() : single;
    const auto layers = static_cast<std::size_t>(out.layers);
    if (values.empty() || layers % values.size() != 0) {
        return malformed(std::string(key) + " is " + value_text(*given) +
                         ", expected a list whose length divides n_layers (" + std::to_string(layers) + ")");
    }
    std::vector<std::int32_t> windows;
    for (std::size_t i = 0; i < layers; ++i) {
        const json::Value& value = values[i % values.size()];
        const auto tokens = value.is_null() ? Result<std::int64_t>(0) : value.to_int64();
        if (!tokens || *tokens < (value.is_null() ? 0 : 1) || *tokens > kMaxContext) {
            return malformed(std::string(key) + " is " + value_text(*given) +
                             ", expected a number of tokens from 1 to " + std::to_string(kMaxContext) +
                             ", null, or a list of them");
        }
        windows.push_back(static_cast<std::int32_t>(*tokens));
    }
    config::set_windows(out, std::move(windows));
    return {};
}

Result<ModelConfig> read_params(const Fields& params) {
    OSTAL_TRYV(refuse_unsupported(params));
    ModelConfig out;
    OSTAL_TRYV(read_experts(params, out));
    OSTAL_TRY(out.layers, params.size("n_layers", kMaxLayers));
    OSTAL_TRY(out.dim, params.size("dim", kMaxDim));
    OSTAL_TRY(out.heads, params.size("n_heads", kMaxHeads));
    OSTAL_TRY(out.kv_heads, params.size("n_kv_heads", kMaxHeads));
    OSTAL_TRY(out.head_dim, params.size("head_dim", kMaxHeadDim));
    OSTAL_TRY(out.ffn, params.size("hidden_dim", kMaxFfn));
    OSTAL_TRY(out.vocab, params.size("vocab_size", kMaxVocab));
    // mistral-inference (December 2023): 10,000 for the first Mistral 7B, which has a window, else 1,000,000.
    const bool windowed =
        params.given("sliding_window") != nullptr || params.given("_sliding_window") != nullptr;
    OSTAL_TRY(out.rope_theta,
              params.number("rope_theta", kLeastRopeTheta, kMaxRopeTheta, windowed ? 1e4 : 1e6));
    OSTAL_TRY(const auto yarn, params.fields("yarn"));
    if (yarn) {
        OSTAL_TRY(out.rope_scaling, config::read_mistral_yarn(*yarn, out.rope_theta));
    }
    OSTAL_TRYV(read_context(params, out));
    OSTAL_TRYV(read_windows(params, out));
    OSTAL_TRY(const double eps, params.number("norm_eps", kLeastNormEps, kMaxNormEps));
    out.norm_eps = static_cast<float>(eps);
    OSTAL_TRY(out.tied_embeddings, params.boolean("tied_embeddings", false));
    out.bos = 1;
    out.eos = {2};
    OSTAL_TRYV(config::check_consistent(out, kNames));
    OSTAL_TRYV(config::check_ids(out));
    return out;
}

}  // namespace

Result<ModelConfig> parse_mistral_params(std::string_view params_json) {
    auto config = config::parse_object(params_json).and_then([](const json::Value& value) {
        return read_params(Fields(value.as_object()));
    });
    if (!config) return fail(std::move(config).error().with("while reading params.json"));
    return config;
}

}  // namespace ostal::engine
