#include "engine/io/model_config.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "base/json.h"
#include "engine/io/gguf.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

json::Object mixtral() {
    return {
        {"architectures", json::Array{"MixtralForCausalLM"}},
        {"model_type", "mixtral"},
        {"vocab_size", 32000},
        {"hidden_size", 4096},
        {"intermediate_size", 14336},
        {"num_hidden_layers", 32},
        {"num_attention_heads", 32},
        {"num_key_value_heads", 8},
        {"num_local_experts", 8},
        {"num_experts_per_tok", 2},
        {"rms_norm_eps", 1e-5},
        {"rope_theta", 1000000.0},
        {"max_position_embeddings", 32768},
        {"sliding_window", nullptr},
        {"hidden_act", "silu"},
        {"tie_word_embeddings", false},
        {"bos_token_id", 1},
        {"eos_token_id", 2},
        {"output_router_logits", false},  // looked at by training alone
        {"transformers_version", "4.36.0"},
    };
}
json::Object with(json::Object config, const std::string& key, json::Value value) {
    config.set(key, std::move(value));
    return config;
}
json::Object without(json::Object config, const std::string& key) {
    config.erase(key);
    return config;
}
json::Object dense(const std::string& type, const std::string& name) {
    json::Object config = with(with(mixtral(), "model_type", type), "architectures", json::Array{name});
    config.erase("num_local_experts");
    config.erase("num_experts_per_tok");
    return config;
}
Result<ModelConfig> parse(const json::Object& config) { return parse_model_config(json::to_string(config)); }

void expect_refused(const json::Object& config, Code code, const std::string& part) {
    const auto parsed = parse(config);
    ASSERT_FALSE(parsed) << part;
    EXPECT_EQ(parsed.error().code(), code) << parsed.error().to_string();
    EXPECT_NE(parsed.error().to_string().find(part), std::string::npos) << parsed.error().to_string();
}

TEST(ModelConfig, ReadsMixtral) {
    const auto config = parse(mixtral());
    ASSERT_TRUE(config) << config.error().to_string();
    EXPECT_EQ(config->architecture, "mixtral");
    EXPECT_EQ(config->layers, 32);
    EXPECT_EQ(config->dim, 4096);
    EXPECT_EQ(config->heads, 32);
    EXPECT_EQ(config->kv_heads, 8);
    EXPECT_EQ(config->head_dim, 128);
    EXPECT_EQ(config->ffn, 14336);
    EXPECT_EQ(config->experts, 8);
    EXPECT_EQ(config->experts_per_token, 2);
    EXPECT_EQ(config->vocab, 32000);
    EXPECT_EQ(config->context, 32768);
    EXPECT_EQ(config->rope_theta, 1e6);
    EXPECT_EQ(config->norm_eps, 1e-5F);
    EXPECT_FALSE(config->tied_embeddings);
    EXPECT_EQ(config->bos, 1);
    EXPECT_EQ(config->eos, std::vector<TokenId>{2});
}

TEST(ModelConfig, ReadsMistralAndLlama) {
    const json::Object mistral = dense("mistral", "MistralForCausalLM");
    // Nemo: head_dim apart from hidden_size / heads.
    const auto nemo = parse(with(with(mistral, "hidden_size", 5120), "head_dim", 128));
    ASSERT_TRUE(nemo) << nemo.error().to_string();
    EXPECT_EQ(nemo->head_dim, 128);
    EXPECT_EQ(nemo->dim, 5120);
    EXPECT_EQ(nemo->experts, 0);
    const json::Object llama = dense("llama", "LlamaForCausalLM");
    const auto small = parse(
        without(without(with(llama, "tie_word_embeddings", true), "num_key_value_heads"), "rope_theta"));
    ASSERT_TRUE(small) << small.error().to_string();
    EXPECT_TRUE(small->tied_embeddings);
    EXPECT_EQ(small->kv_heads, 32);
    EXPECT_EQ(small->rope_theta, 10000.0);
    // The way transformers 5 writes it.
    const json::Object rope{{"rope_theta", 500000.0}, {"rope_type", "default"}};
    const auto newer = parse(with(without(llama, "rope_theta"), "rope_parameters", rope));
    ASSERT_TRUE(newer) << newer.error().to_string();
    EXPECT_EQ(newer->rope_theta, 500000.0);
}

TEST(ModelConfig, RefusesOtherArchitecturesByName) {
    expect_refused(with(mixtral(), "model_type", "qwen2"), Code::kUnsupported,
                   "the model_type \"qwen2\" is not supported");
    expect_refused(with(mixtral(), "architectures", json::Array{"Qwen2ForCausalLM"}), Code::kUnsupported,
                   "\"Qwen2ForCausalLM\"");
    expect_refused(with(mixtral(), "model_type", "mistral"), Code::kInvalidArgument,
                   "but architectures names");
    expect_refused(with(mixtral(), "architectures", json::Array{}), Code::kInvalidArgument,
                   "architectures is []");
    expect_refused(without(without(mixtral(), "model_type"), "architectures"), Code::kInvalidArgument,
                   "model_type is missing");
    EXPECT_TRUE(parse(without(mixtral(), "model_type")));
    EXPECT_TRUE(parse(without(mixtral(), "architectures")));
}

TEST(ModelConfig, RefusesUnsupportedSettingsByName) {
    const std::pair<const char*, json::Value> kSettings[] = {
        {"hidden_act", "gelu"},
        {"attention_bias", true},
        {"mlp_bias", true},
        {"rope_interleaved", true},
        {"partial_rotary_factor", 0.5},
        {"quantization_config", json::Object{{"quant_method", "awq"}}},
        {"auto_map", json::Object{{"AutoModel", "evil.Model"}}},
        {"rope_scaling", json::Object{{"type", "longrope"}, {"factor", 2.0}}},
        {"rope_scaling", json::Object{{"type", "su"}}},
        {"rope_scaling", json::Object{{"rope_type", "linear"}, {"factor", 2.0}, {"long_factor", 1.0}}},
        {"rope_parameters", json::Object{{"rope_type", "proportional"}}},
        {"rope_parameters", json::Object{{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}},
        {"rope_parameters", json::Object{{"full_attention", json::Object{}}}},
        {"layer_types", json::Array(32, json::Value("chunked_attention"))},
    };
    for (const auto& [key, value] : kSettings) {
        expect_refused(with(mixtral(), key, value), Code::kUnsupported, key);
        EXPECT_TRUE(parse(with(mixtral(), key, nullptr))) << key;
    }
    expect_refused(with(dense("llama", "LlamaForCausalLM"), "num_local_experts", 4), Code::kUnsupported,
                   "num_local_experts");
    EXPECT_TRUE(parse(with(mixtral(), "partial_rotary_factor", 1.0)));
    EXPECT_TRUE(parse(with(mixtral(), "layer_types", json::Array(32, json::Value("full_attention")))));
    // Ministral 3 scales its queries by their position, which no operation does here.
    const json::Object ministral3{{"rope_type", "yarn"},
                                  {"factor", 2.0},
                                  {"original_max_position_embeddings", 16384},
                                  {"llama_4_scaling_beta", 0.1}};
    expect_refused(with(mixtral(), "rope_parameters", ministral3), Code::kUnsupported,
                   "rope_parameters.llama_4_scaling_beta is 0.1");
}

TEST(ModelConfig, ReadsWindows) {
    using Windows = std::vector<std::int32_t>;
    const auto windows = [](const json::Object& config) {
        const auto parsed = parse(config);
        EXPECT_TRUE(parsed) << parsed.error().to_string();
        return parsed ? parsed->windows : Windows{-1};
    };
    const json::Object some = with(with(mixtral(), "num_hidden_layers", 6), "sliding_window", 4096);
    EXPECT_EQ(windows(some), Windows(6, 4096));
    EXPECT_EQ(windows(with(some, "sliding_window", 32767)), Windows(6, 32767));
    // A window that hides nothing is none.
    EXPECT_EQ(windows(with(some, "sliding_window", 32768)), Windows());
    EXPECT_EQ(windows(with(some, "use_sliding_window", false)), Windows());
    EXPECT_EQ(windows(with(some, "sliding_window", nullptr)), Windows());
    EXPECT_EQ(windows(without(some, "sliding_window")), Windows());
    // MistralConfig's own default.
    const json::Object silent = without(dense("mistral", "MistralForCausalLM"), "sliding_window");
    EXPECT_EQ(windows(with(silent, "num_hidden_layers", 2)), Windows(2, 4096));
    EXPECT_EQ(windows(with(silent, "max_position_embeddings", 4096)), Windows());
    // Layer by layer.
    const json::Value full("full_attention"), slides("sliding_attention");
    const json::Array types{full, slides, slides, full, slides, slides};
    EXPECT_EQ(windows(with(some, "layer_types", types)), (Windows{0, 4096, 4096, 0, 4096, 4096}));
    EXPECT_EQ(windows(with(some, "sliding_window_pattern", 3)), (Windows{4096, 4096, 0, 4096, 4096, 0}));
    EXPECT_EQ(windows(with(some, "sliding_window_pattern", 1)), Windows());
    const auto ministral = parse(with(with(dense("ministral", "MinistralForCausalLM"), "sliding_window", 128),
                                      "num_hidden_layers", 2));
    ASSERT_TRUE(ministral) << ministral.error().to_string();
    EXPECT_EQ(ministral->windows, Windows(2, 128));

    expect_refused(with(mixtral(), "layer_types", json::Array{full}), Code::kInvalidArgument,
                   "layer_types is [\"full_attention\"], expected a list of 32 names");
    expect_refused(with(mixtral(), "layer_types", json::Array(32, slides)), Code::kInvalidArgument,
                   "sliding_window names no window");
    expect_refused(with(with(some, "layer_types", types), "sliding_window_pattern", 2),
                   Code::kInvalidArgument, "layer_types and sliding_window_pattern");
    expect_refused(with(dense("llama", "LlamaForCausalLM"), "sliding_window", 4096), Code::kUnsupported,
                   "sliding_window is 4096 in a model of type llama");
}

TEST(ModelConfig, ReadsRopeScalings) {
    const json::Object model = with(mixtral(), "max_position_embeddings", 65536);
    const auto scaling = [&](json::Object rope) {
        const auto parsed = parse(with(model, "rope_scaling", std::move(rope)));
        EXPECT_TRUE(parsed) << parsed.error().to_string();
        return parsed ? parsed->rope_scaling : RopeScaling{};
    };
    EXPECT_EQ(scaling({{"type", "linear"}, {"factor", 2}}),
              (RopeScaling{.kind = RopeKind::kLinear, .factor = 2.0}));
    EXPECT_EQ(scaling({{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}}),
              (RopeScaling{.kind = RopeKind::kLlama3, .factor = 8.0, .original_context = 8192}));
    // YaRN's attention factor: its own, by mscale, by the factor.
    const json::Object yarn{{"rope_type", "yarn"},
                            {"type", "yarn"},
                            {"factor", 4.0},
                            {"original_max_position_embeddings", 16384}};
    const RopeScaling expected{.kind = RopeKind::kYarn,
                               .factor = 4.0,
                               .original_context = 16384,
                               .attention_factor = 0.1 * std::log(4.0) + 1.0};
    EXPECT_EQ(scaling(yarn), expected);
    EXPECT_EQ(scaling(with(yarn, "attention_factor", 1.5)).attention_factor, 1.5);
    EXPECT_EQ(scaling(with(with(yarn, "mscale", 1.0), "mscale_all_dim", 1.0)).attention_factor, 1.0);
    EXPECT_DOUBLE_EQ(scaling(with(with(yarn, "mscale", 2.0), "mscale_all_dim", 0.5)).attention_factor,
                     (0.2 * std::log(4.0) + 1.0) / (0.05 * std::log(4.0) + 1.0));
    EXPECT_EQ(scaling(with(yarn, "mscale", 0.707)).attention_factor, expected.attention_factor);
    EXPECT_EQ(scaling(with(yarn, "beta_fast", 16)).beta_fast, 16.0);
    EXPECT_FALSE(scaling(with(yarn, "truncate", false)).truncate);
    // Dynamic: up to the original context, where it is plain.
    const auto dynamic = parse(with(
        model, "rope_scaling",
        json::Object{{"type", "dynamic"}, {"factor", 2.0}, {"original_max_position_embeddings", 32768}}));
    ASSERT_TRUE(dynamic);
    EXPECT_EQ(dynamic->rope_scaling.kind, RopeKind::kDynamic);
    EXPECT_EQ(dynamic->context, 32768);
    // The way transformers 5 writes it, and both ways at once.
    const json::Object newer{{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 500000.0}};
    const auto both = parse(with(with(without(model, "rope_theta"), "rope_parameters", newer), "rope_scaling",
                                 json::Object{{"type", "linear"}, {"factor", 2.0}}));
    ASSERT_TRUE(both) << both.error().to_string();
    EXPECT_EQ(both->rope_theta, 500000.0);

    const auto refused = [&](json::Object rope, Code code, const std::string& part) {
        expect_refused(with(model, "rope_scaling", std::move(rope)), code, part);
    };
    refused(without(yarn, "factor"), Code::kInvalidArgument, "rope_scaling.factor is missing");
    refused(with(yarn, "factor", 2.0), Code::kInvalidArgument, "rope_scaling.factor is 2");
    refused(with(yarn, "type", "linear"), Code::kInvalidArgument, "but rope_scaling.type is \"linear\"");
    refused(with(yarn, "type", 7), Code::kInvalidArgument, "rope_scaling.type is 7");
    refused(with(yarn, "beta_fast", 1.0), Code::kInvalidArgument, "rope_scaling.beta_fast is 1");
    refused(with(yarn, "short_factor", 1.0), Code::kUnsupported, "rope_scaling.\"short_factor\"");
    refused({{"type", "llama3"},
             {"factor", 8.0},
             {"low_freq_factor", 4.0},
             {"high_freq_factor", 4.0},
             {"original_max_position_embeddings", 8192}},
            Code::kInvalidArgument, "rope_scaling.high_freq_factor is 4");
    refused({{"type", "longrope"}}, Code::kUnsupported, "the RoPE scaling \"longrope\"");
    expect_refused(with(with(model, "rope_parameters", newer), "rope_scaling",
                        json::Object{{"type", "linear"}, {"factor", 4.0}}),
                   Code::kInvalidArgument, "rope_scaling and rope_parameters");
    expect_refused(with(with(model, "rope_theta", 1.0), "rope_scaling", yarn), Code::kInvalidArgument,
                   "rope_theta is 1");
}

TEST(ModelConfig, MixtralHasTransformersDefaultForTheta) {
    const auto config = parse(without(mixtral(), "rope_theta"));
    ASSERT_TRUE(config) << config.error().to_string();
    EXPECT_EQ(config->rope_theta, 1e6);
}

// ---- Malformed numbers ----

// A number of a configuration with its bounds; optional ones have a default where they are null.
struct Numeric {
    const char* key;  // "a.b" is member b of object a
    double least;
    double most;
    bool integer = true;
    bool optional = false;
};

void set_path(json::Object& object, const std::string& path, const json::Value& value) {
    const std::size_t dot = path.find('.');
    if (dot == std::string::npos) return object.set(path, value);
    set_path(object.find(path.substr(0, dot))->as_object(), path.substr(dot + 1), value);
}

// Every number just outside of its bounds, huge, and of another type: an error that names the key.
void expect_numbers_checked(const json::Object& sound, Result<ModelConfig> (*read)(std::string_view),
                            std::span<const Numeric> numbers) {
    ASSERT_TRUE(read(json::to_string(sound))) << read(json::to_string(sound)).error().to_string();
    int cases = 0;
    for (const Numeric& number : numbers) {
        std::vector<json::Value> wrong{std::int64_t{-1}, std::uint64_t{1} << 63U, 1e308, "1", true,
                                       json::Array{},    json::Object{}};
        if (number.integer) {
            wrong.emplace_back(static_cast<std::int64_t>(number.least) - 1);
            wrong.emplace_back(static_cast<std::int64_t>(number.most) + 1);
            wrong.emplace_back(std::int64_t{1} << 31U);
            wrong.emplace_back(number.least + 0.5);
        } else {
            if (number.least > 0) wrong.emplace_back(number.least * 0.999);
            wrong.emplace_back(number.most * 1.001);
        }
        if (!number.optional) wrong.emplace_back(nullptr);
        for (const json::Value& value : wrong) {
            json::Object config = sound;
            set_path(config, number.key, value);
            const auto parsed = read(json::to_string(config));
            const std::string shown = std::string(number.key) + " = " + json::to_string(value);
            ASSERT_FALSE(parsed) << shown;
            EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument) << shown;
            EXPECT_NE(parsed.error().to_string().find(number.key), std::string::npos)
                << shown << ": " << parsed.error().to_string();
            ++cases;
        }
    }
    testing::Test::RecordProperty("cases", cases);
}

TEST(ModelConfig, EveryNumberIsBounded) {
    const Numeric kNumbers[] = {
        {"vocab_size", 1, 1 << 21},
        {"hidden_size", 1, 1 << 17},
        {"intermediate_size", 1, 1 << 20},
        {"num_hidden_layers", 1, 1024},
        {"num_attention_heads", 1, 1024},
        {"num_key_value_heads", 1, 1024},
        {"head_dim", 1, 1024, true, true},
        {"num_local_experts", 1, 256},
        {"num_experts_per_tok", 1, 256},
        {"max_position_embeddings", 1, 1 << 24},
        {"sliding_window", 1, 1 << 24, true, true},
        {"sliding_window_pattern", 1, 1024, true, true},
        {"rms_norm_eps", 1e-12, 1, false},
        {"rope_theta", 1, 1e12, false, true},
        {"rope_scaling.factor", 1, 65536, false},
        {"rope_scaling.original_max_position_embeddings", 1, 1 << 24, true, true},
        {"rope_scaling.beta_fast", 1e-3, 1e6, false, true},
        {"rope_scaling.beta_slow", 1e-3, 1e6, false, true},
        {"rope_scaling.attention_factor", 1e-2, 100, false, true},
        {"rope_scaling.mscale", 0, 100, false, true},
        {"rope_scaling.mscale_all_dim", 0, 100, false, true},
    };
    const json::Object yarn{
        {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 8192}};
    expect_numbers_checked(with(mixtral(), "rope_scaling", yarn), parse_model_config, kNumbers);
    const Numeric kLlama3[] = {
        {"rope_scaling.factor", 1, 65536, false},
        {"rope_scaling.original_max_position_embeddings", 1, 1 << 24},
        {"rope_scaling.low_freq_factor", 1e-3, 1e6, false},
        {"rope_scaling.high_freq_factor", 1e-3, 1e6, false},
    };
    const json::Object llama3{{"rope_type", "llama3"},
                              {"factor", 4.0},
                              {"original_max_position_embeddings", 8192},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0}};
    expect_numbers_checked(with(mixtral(), "rope_scaling", llama3), parse_model_config, kLlama3);
}

TEST(ModelConfig, NamesFieldValueAndExpectation) {
    for (const char* key :
         {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
          "num_key_value_heads", "num_local_experts", "num_experts_per_tok", "max_position_embeddings"}) {
        expect_refused(without(mixtral(), key), Code::kInvalidArgument, std::string(key) + " is missing");
        const std::pair<json::Value, const char*> kWrong[] = {
            {0, "0"},
            {-1, "-1"},
            {std::int64_t{1} << 31U, "2147483648"},
            {INT64_MAX, "9223372036854775807"},
            {UINT64_MAX, "18446744073709551615"},
            {1.5, "1.5"},
            {"8", "\"8\""},
            {true, "true"},
            {json::Array{}, "[]"},
        };
        for (const auto& [value, text] : kWrong) {
            expect_refused(with(mixtral(), key, value), Code::kInvalidArgument,
                           std::string(key) + " is " + text);
        }
    }
    expect_refused(without(mixtral(), "rms_norm_eps"), Code::kInvalidArgument, "rms_norm_eps is missing");
    for (const char* key : {"rms_norm_eps", "rope_theta"}) {
        for (const json::Value& value :
             {json::Value(0), json::Value(-1.0), json::Value(1e308), json::Value(1e-300), json::Value("1")}) {
            expect_refused(with(mixtral(), key, value), Code::kInvalidArgument,
                           std::string(key) + " is " + json::to_string(value));
        }
    }
    expect_refused(with(mixtral(), "head_dim", 127), Code::kInvalidArgument,
                   "head_dim is 127, expected an even number");
    expect_refused(with(mixtral(), "head_dim", 4096), Code::kInvalidArgument, "head_dim is 4096");
    expect_refused(with(mixtral(), "hidden_size", 4097), Code::kInvalidArgument, "hidden_size is 4097");
    expect_refused(with(mixtral(), "num_key_value_heads", 5), Code::kInvalidArgument,
                   "multiple of num_key_value_heads (5)");
    expect_refused(with(mixtral(), "num_key_value_heads", 64), Code::kInvalidArgument,
                   "multiple of num_key_value_heads (64)");
    expect_refused(with(mixtral(), "num_experts_per_tok", 9), Code::kInvalidArgument,
                   "num_experts_per_tok is 9");
    expect_refused(with(mixtral(), "tie_word_embeddings", 1), Code::kInvalidArgument,
                   "tie_word_embeddings is 1");
    expect_refused(with(mixtral(), "bos_token_id", 32000), Code::kInvalidArgument, "bos_token_id is 32000");
    expect_refused(with(mixtral(), "eos_token_id", 32000), Code::kInvalidArgument, "eos_token_id is 32000");
    expect_refused(with(mixtral(), "eos_token_id", -1), Code::kInvalidArgument, "eos_token_id is -1");
    expect_refused(with(mixtral(), "eos_token_id", "2"), Code::kInvalidArgument, "eos_token_id is \"2\"");
    expect_refused(with(mixtral(), "bos_token_id", json::Array{1, 2}), Code::kInvalidArgument,
                   "bos_token_id is a list");
    for (const char* text : {"", "[]", "null", "{", "{\"a\":1,\"a\":2}", "{} {}", "{\"model_type\":NaN}"}) {
        const auto parsed = parse_model_config(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument) << text;
        EXPECT_NE(parsed.error().to_string().find("config.json"), std::string::npos);
    }
    EXPECT_EQ(parse_model_config(std::string((1U << 20U) + 1, ' ')).error().code(), Code::kTooLarge);
}

TEST(ModelConfig, EosMayBeAListAndComeFromGenerationConfig) {
    auto config = parse(with(mixtral(), "eos_token_id", json::Array{2, 7, 2}));
    ASSERT_TRUE(config);
    EXPECT_EQ(config->eos, (std::vector<TokenId>{2, 7}));
    ASSERT_TRUE(add_generation_config(R"({"eos_token_id":[7,9],"temperature":0.6})", *config));
    EXPECT_EQ(config->eos, (std::vector<TokenId>{2, 7, 9}));
    EXPECT_EQ(add_generation_config(R"({"eos_token_id":32000})", *config).error().code(),
              Code::kInvalidArgument);
    EXPECT_EQ(config->eos, (std::vector<TokenId>{2, 7, 9}));
    EXPECT_TRUE(add_generation_config("{}", *config));
    const auto none = parse(with(with(mixtral(), "eos_token_id", nullptr), "bos_token_id", nullptr));
    ASSERT_TRUE(none);
    EXPECT_TRUE(none->eos.empty());
    EXPECT_EQ(none->bos, -1);
    const auto silent = parse(without(without(mixtral(), "eos_token_id"), "bos_token_id"));
    ASSERT_TRUE(silent);
    EXPECT_EQ(silent->eos, std::vector<TokenId>{2});
    EXPECT_EQ(silent->bos, 1);
    EXPECT_FALSE(parse(with(mixtral(), "eos_token_id", json::Array(17, json::Value(2)))));
}

// Every byte of a config with every value: a result or an error, never a crash; what is accepted is in
// bounds.
TEST(ModelConfig, SurvivesMutationOfEveryByte) {
    const std::string whole = json::to_string(mixtral());
    for (std::size_t at = 0; at < whole.size(); ++at) {
        EXPECT_FALSE(parse_model_config(whole.substr(0, at)));
        for (int value = 0; value < 256; value += 3) {
            std::string text = whole;
            text[at] = static_cast<char>(value);
            const auto config = parse_model_config(text);
            if (!config) continue;
            EXPECT_GE(config->heads, config->kv_heads);
            EXPECT_GT(config->layers, 0);
            EXPECT_LT(config->bos, config->vocab);
        }
    }
}

// ---- params.json ----

json::Object params() {
    return {
        {"dim", 4096},
        {"n_layers", 32},
        {"head_dim", 128},
        {"hidden_dim", 14336},
        {"n_heads", 32},
        {"n_kv_heads", 8},
        {"norm_eps", 1e-5},
        {"vocab_size", 32000},
        {"rope_theta", 1e6},
        {"max_seq_len", 65536},
        {"moe", json::Object{{"num_experts", 8}, {"num_experts_per_tok", 2}}},
        {"yarn", json::Object{{"factor", 4.0},
                              {"original_max_position_embeddings", 16384},
                              {"beta", 32.0},
                              {"alpha", 1.0},
                              {"apply_scale", false}}},
        {"sliding_window", json::Array{nullptr, 4096}},
    };
}
Result<ModelConfig> parse_params(const json::Object& object) {
    return parse_mistral_params(json::to_string(object));
}
void expect_params_refused(const json::Object& object, Code code, const std::string& part) {
    const auto parsed = parse_params(object);
    ASSERT_FALSE(parsed) << part;
    EXPECT_EQ(parsed.error().code(), code) << parsed.error().to_string();
    EXPECT_NE(parsed.error().to_string().find(part), std::string::npos) << parsed.error().to_string();
}

TEST(MistralParams, ReadsEveryField) {
    const auto config = parse_params(params());
    ASSERT_TRUE(config) << config.error().to_string();
    EXPECT_EQ(config->architecture, "mixtral");
    EXPECT_EQ(config->dim, 4096);
    EXPECT_EQ(config->layers, 32);
    EXPECT_EQ(config->heads, 32);
    EXPECT_EQ(config->kv_heads, 8);
    EXPECT_EQ(config->head_dim, 128);
    EXPECT_EQ(config->ffn, 14336);
    EXPECT_EQ(config->experts, 8);
    EXPECT_EQ(config->experts_per_token, 2);
    EXPECT_EQ(config->vocab, 32000);
    EXPECT_EQ(config->context, 65536);
    EXPECT_EQ(config->rope_theta, 1e6);
    EXPECT_EQ(config->norm_eps, 1e-5F);
    EXPECT_EQ(config->rope_scaling,
              (RopeScaling{.kind = RopeKind::kYarn, .factor = 4.0, .original_context = 16384}));
    EXPECT_EQ(config->windows.size(), 32U);
    EXPECT_EQ(config->window(0), 0);
    EXPECT_EQ(config->window(31), 4096);
    EXPECT_EQ(config->bos, 1);
    EXPECT_EQ(config->eos, std::vector<TokenId>{2});
    const json::Object sound = params();
    const json::Object& yarn = sound.find("yarn")->as_object();
    const auto scaled = parse_params(with(params(), "yarn", with(yarn, "apply_scale", true)));
    ASSERT_TRUE(scaled);
    EXPECT_EQ(scaled->rope_scaling.attention_factor, 0.1 * std::log(4.0) + 1.0);
}

// Mistral 7B v0.1 as it was released: a window and no rope_theta, which was 10,000 then; Mixtral 8x7B names
// neither.
TEST(MistralParams, TakesTheDefaultsOfTheFirstReleases) {
    json::Object first =
        without(without(without(without(params(), "moe"), "yarn"), "max_seq_len"), "rope_theta");
    const auto mistral = parse_params(with(first, "sliding_window", 4096));
    ASSERT_TRUE(mistral) << mistral.error().to_string();
    EXPECT_EQ(mistral->architecture, "mistral");
    EXPECT_EQ(mistral->rope_theta, 10000.0);
    EXPECT_EQ(mistral->context, 32768);
    EXPECT_EQ(mistral->windows, std::vector<std::int32_t>(32, 4096));
    const auto whole = parse_params(without(first, "sliding_window"));
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->rope_theta, 1e6);
    EXPECT_TRUE(whole->windows.empty());
    EXPECT_FALSE(whole->tied_embeddings);
    EXPECT_TRUE(parse_params(with(first, "tied_embeddings", true))->tied_embeddings);
    EXPECT_EQ(parse_params(without(params(), "max_seq_len"))->context, 65536);  // what YaRN stretches to
    EXPECT_EQ(parse_params(with(without(params(), "max_seq_len"), "max_position_embeddings", 1024))->context,
              1024);
    // The name vLLM was shown.
    const auto hidden = parse_params(with(without(first, "sliding_window"), "_sliding_window", 512));
    ASSERT_TRUE(hidden);
    EXPECT_EQ(hidden->window(7), 512);
    // What does not change a result, and what is switched off.
    for (const auto& [key, value] :
         std::initializer_list<std::pair<const char*, json::Value>>{{"max_batch_size", 8},
                                                                    {"model_type", "transformer"},
                                                                    {"activation", "silu"},
                                                                    {"causal", true},
                                                                    {"use_biases", false},
                                                                    {"lora", nullptr},
                                                                    {"vision_encoder", nullptr}}) {
        EXPECT_TRUE(parse_params(with(params(), key, value))) << key;
    }
}

TEST(MistralParams, RefusesByName) {
    for (const auto& [key, value] : std::initializer_list<std::pair<const char*, json::Value>>{
             {"llama_4_scaling", json::Object{{"beta", 0.1}}},
             {"vision_encoder", json::Object{{"hidden_size", 1024}}},
             {"quantization", json::Object{{"qformat_weight", "fp8_e4m3"}}},
             {"q_lora_rank", 1536},
             {"model_type", "mamba"},
             {"activation", "gelu"},
             {"use_biases", true},
             {"causal", false},
             {"ffn_dim_multiplier", 1.3}}) {
        expect_params_refused(with(params(), key, value), Code::kUnsupported, key);
    }
    const auto moe = [](const char* key, json::Value value) {
        const json::Object object{{"num_experts", 8}, {"num_experts_per_tok", 2}, {key, std::move(value)}};
        return with(params(), "moe", object);
    };
    expect_params_refused(moe("num_shared_experts", 1), Code::kUnsupported, "moe.num_shared_experts is 1");
    expect_params_refused(moe("expert_parallel", 2), Code::kUnsupported, "moe.\"expert_parallel\"");
    EXPECT_TRUE(parse_params(moe("num_shared_experts", 0)));
    expect_params_refused(with(params(), "moe", 8), Code::kInvalidArgument, "moe is 8");
    expect_params_refused(with(params(), "moe", json::Object{{"num_experts", 2}, {"num_experts_per_tok", 3}}),
                          Code::kInvalidArgument,
                          "moe.num_experts_per_tok is 3, expected at most moe.num_experts");
    expect_params_refused(with(params(), "n_kv_heads", 5), Code::kInvalidArgument,
                          "n_heads is 32, expected a multiple of n_kv_heads (5)");
    expect_params_refused(with(params(), "head_dim", 127), Code::kInvalidArgument, "head_dim is 127");
    expect_params_refused(with(params(), "max_position_embeddings", 1024), Code::kInvalidArgument,
                          "max_seq_len is 65536, but max_position_embeddings is 1024");
    expect_params_refused(with(params(), "_sliding_window", 1024), Code::kInvalidArgument,
                          "sliding_window and _sliding_window");
    for (const json::Value& value :
         {json::Value(json::Array{1, 2, 3}), json::Value(json::Array{}), json::Value(0),
          json::Value(json::Array{4096, -1}), json::Value(true), json::Value("4096")}) {
        expect_params_refused(with(params(), "sliding_window", value), Code::kInvalidArgument,
                              "sliding_window is " + json::to_string(value));
    }
}

TEST(MistralParams, EveryNumberIsBounded) {
    const Numeric kNumbers[] = {
        {"dim", 1, 1 << 17},
        {"n_layers", 1, 1024},
        {"head_dim", 1, 1024},
        {"hidden_dim", 1, 1 << 20},
        {"n_heads", 1, 1024},
        {"n_kv_heads", 1, 1024},
        {"vocab_size", 1, 1 << 21},
        {"max_seq_len", 1, 1 << 24, true, true},
        {"norm_eps", 1e-12, 1, false},
        {"rope_theta", 1, 1e12, false, true},
        {"moe.num_experts", 1, 256},
        {"moe.num_experts_per_tok", 1, 256},
        {"yarn.factor", 1, 65536, false},
        {"yarn.original_max_position_embeddings", 1, 1 << 24},
        {"yarn.beta", 1e-3, 1e6, false, true},
        {"yarn.alpha", 1e-3, 1e6, false, true},
    };
    json::Object sound = with(params(), "sliding_window", nullptr);
    expect_numbers_checked(sound, parse_mistral_params, kNumbers);
    // The other spellings, where the usual ones are not given.
    const Numeric kOthers[] = {
        {"max_position_embeddings", 1, 1 << 24, true, true},
        {"_sliding_window", 1, 1 << 24, true, true},
    };
    sound.set("max_seq_len", nullptr);
    expect_numbers_checked(sound, parse_mistral_params, kOthers);
    const Numeric kWindow[] = {{"sliding_window", 1, 1 << 24, true, true}};
    expect_numbers_checked(sound, parse_mistral_params, kWindow);
}

// A truth value that is a number, a text or a list: named with what was expected.
TEST(ModelConfig, EveryTruthValueIsOne) {
    const json::Object yarn{
        {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 8192}};
    const json::Object hf = with(mixtral(), "rope_scaling", yarn);
    for (const json::Value& value : {json::Value(0), json::Value(1), json::Value(1e308), json::Value("true"),
                                     json::Value(json::Array{}), json::Value(json::Object{})}) {
        for (const char* key : {"tie_word_embeddings", "rope_scaling.truncate"}) {
            json::Object config = hf;
            set_path(config, key, value);
            expect_refused(config, Code::kInvalidArgument,
                           std::string(key) + " is " + json::to_string(value) + ", expected true or false");
        }
        for (const char* key : {"tied_embeddings", "yarn.apply_scale"}) {
            json::Object config = params();
            set_path(config, key, value);
            expect_params_refused(
                config, Code::kInvalidArgument,
                std::string(key) + " is " + json::to_string(value) + ", expected true or false");
        }
    }
}

// ---- GGUF ----

test::GgufBuilder gguf_sample(const std::string& skip = "") {
    test::GgufBuilder out;
    const std::pair<const char*, std::uint32_t> kSizes[] = {
        {"llama.block_count", 2},          {"llama.embedding_length", 64},
        {"llama.attention.head_count", 4}, {"llama.attention.head_count_kv", 2},
        {"llama.feed_forward_length", 96}, {"llama.context_length", 256},
        {"llama.vocab_size", 384},
    };
    if (skip != "general.architecture") out.add_text("general.architecture", "llama");
    for (const auto& [key, value] : kSizes) {
        if (skip != key) out.add_u32(key, value);
    }
    if (skip != "llama.attention.layer_norm_rms_epsilon")
        out.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
    return out;
}
Result<ModelConfig> config_of(const test::GgufBuilder& builder) {
    const test::MemorySource source({{"m.gguf", builder.build()}});
    OSTAL_TRY(const GgufFile file, GgufFile::read(source, "m.gguf"));
    return model_config_from_gguf(file);
}
void expect_gguf_refused(const test::GgufBuilder& builder, Code code, const std::string& part) {
    const auto config = config_of(builder);
    ASSERT_FALSE(config) << part;
    EXPECT_EQ(config.error().code(), code) << config.error().to_string();
    EXPECT_NE(config.error().to_string().find(part), std::string::npos) << config.error().to_string();
}

TEST(ModelConfigGguf, AgreesWithConfigJson) {
    for (const char* architecture : {"mixtral", "llama"}) {
        test::TinyModelSpec spec;
        spec.architecture = architecture;
        spec.rope_theta = 1e6;
        const test::TinyModel model(spec);
        const auto expected = parse_model_config(model.config_json());
        ASSERT_TRUE(expected) << expected.error().to_string();
        const auto file = GgufFile::read(model.gguf(DType::kF32), "model.gguf");
        ASSERT_TRUE(file);
        const auto config = model_config_from_gguf(*file);
        ASSERT_TRUE(config) << config.error().to_string();
        EXPECT_EQ(config->architecture, expected->architecture);
        EXPECT_EQ(config->layers, expected->layers);
        EXPECT_EQ(config->dim, expected->dim);
        EXPECT_EQ(config->heads, expected->heads);
        EXPECT_EQ(config->kv_heads, expected->kv_heads);
        EXPECT_EQ(config->head_dim, expected->head_dim);
        EXPECT_EQ(config->ffn, expected->ffn);
        EXPECT_EQ(config->experts, expected->experts);
        EXPECT_EQ(config->experts_per_token, expected->experts_per_token);
        EXPECT_EQ(config->vocab, expected->vocab);
        EXPECT_EQ(config->context, expected->context);
        EXPECT_EQ(config->rope_theta, expected->rope_theta);
        EXPECT_EQ(config->norm_eps, expected->norm_eps);
        EXPECT_EQ(config->tied_embeddings, expected->tied_embeddings);
        EXPECT_EQ(config->bos, expected->bos);
        EXPECT_EQ(config->eos, expected->eos);
    }
}

TEST(ModelConfigGguf, TakesDefaults) {
    const auto config = config_of(gguf_sample());
    ASSERT_TRUE(config) << config.error().to_string();
    EXPECT_EQ(config->head_dim, 16);
    EXPECT_EQ(config->rope_theta, 10000.0);
    EXPECT_TRUE(config->tied_embeddings);
    EXPECT_EQ(config->bos, -1);
    const auto all_heads = config_of(gguf_sample("llama.attention.head_count_kv"));
    ASSERT_TRUE(all_heads);
    EXPECT_EQ(all_heads->kv_heads, 4);
    test::GgufBuilder tokens = gguf_sample("llama.vocab_size");
    tokens.add_texts("tokenizer.ggml.tokens", {"a", "b", "c"});
    EXPECT_EQ(config_of(tokens)->vocab, 3);
}

TEST(ModelConfigGguf, NamesWhatIsMissingOrOutOfBounds) {
    for (const char* key : {"general.architecture", "llama.block_count", "llama.embedding_length",
                            "llama.attention.head_count", "llama.feed_forward_length", "llama.context_length",
                            "llama.vocab_size", "llama.attention.layer_norm_rms_epsilon"}) {
        expect_gguf_refused(gguf_sample(key), Code::kInvalidArgument, std::string(key) + " is missing");
    }
    for (const char* key :
         {"llama.block_count", "llama.embedding_length", "llama.attention.head_count", "llama.context_length",
          "llama.attention.head_count_kv", "llama.feed_forward_length", "llama.vocab_size"}) {
        for (const std::uint32_t value : {0U, 0x80000000U, 0xFFFFFFFFU}) {
            test::GgufBuilder builder = gguf_sample(key);
            builder.add_u32(key, value);
            expect_gguf_refused(builder, Code::kInvalidArgument,
                                std::string(key) + " is " + std::to_string(value));
        }
        test::GgufBuilder text = gguf_sample(key);
        text.add_text(key, "4");
        expect_gguf_refused(text, Code::kInvalidArgument, key);
    }
    test::GgufBuilder experts = gguf_sample();
    experts.add_u32("llama.expert_count", 4);
    expect_gguf_refused(experts, Code::kInvalidArgument, "llama.expert_used_count is missing");
    experts.add_u32("llama.expert_used_count", 5);
    expect_gguf_refused(experts, Code::kInvalidArgument, "llama.expert_used_count is 5");
    test::GgufBuilder tokens = gguf_sample();
    tokens.add_texts("tokenizer.ggml.tokens", {"a"});
    expect_gguf_refused(tokens, Code::kInvalidArgument,
                        "llama.vocab_size is 384, but tokenizer.ggml.tokens has 1");
}

// The same numbers as metadata: sound ones for all, then each just outside of its bounds, huge, of another
// type.
TEST(ModelConfigGguf, EveryNumberIsBounded) {
    struct Number {
        Numeric bounds;
        double sound;
    };
    const Number kNumbers[] = {
        {{"llama.block_count", 1, 1024}, 2},
        {{"llama.embedding_length", 1, 1 << 17}, 64},
        {{"llama.attention.head_count", 1, 1024}, 4},
        {{"llama.attention.head_count_kv", 1, 1024}, 2},
        {{"llama.attention.key_length", 1, 1024}, 32},
        {{"llama.attention.value_length", 1, 1024}, 32},
        {{"llama.rope.dimension_count", 1, 1024}, 32},
        {{"llama.feed_forward_length", 1, 1 << 20}, 96},
        {{"llama.context_length", 1, 1 << 24}, 256},
        {{"llama.vocab_size", 1, 1 << 21}, 384},
        {{"llama.expert_count", 0, 256}, 4},
        {{"llama.expert_used_count", 1, 256}, 2},
        {{"llama.attention.sliding_window", 0, 1 << 24}, 128},
        {{"llama.attention.sliding_window_pattern", 1, 1024}, 2},
        {{"llama.rope.scaling.original_context_length", 1, 1 << 24}, 64},
        {{"tokenizer.ggml.bos_token_id", 0, 383}, 1},
        {{"tokenizer.ggml.eos_token_id", 0, 383}, 2},
        {{"llama.attention.layer_norm_rms_epsilon", 1e-12, 1, false}, 1e-5},
        {{"llama.rope.freq_base", 1, 1e12, false}, 1e4},
        {{"llama.rope.scaling.factor", 1, 65536, false}, 4},
        {{"llama.rope.scaling.attn_factor", 1e-2, 100, false}, 1},
        {{"llama.rope.scaling.yarn_attn_factor", 1e-2, 100, false}, 1},
        {{"llama.rope.scaling.yarn_beta_fast", 1e-3, 1e6, false}, 32},
        {{"llama.rope.scaling.yarn_beta_slow", 1e-3, 1e6, false}, 1},
    };
    using Add = std::function<void(test::GgufBuilder&, const char*)>;
    const auto file_with = [&](const char* changed, const Add& add) {
        test::GgufBuilder out;
        out.add_text("general.architecture", "llama");
        out.add_text("llama.rope.scaling.type", "yarn");
        for (const auto& [bounds, sound] : kNumbers) {
            if (changed != nullptr && std::string_view(changed) == bounds.key) {
                add(out, bounds.key);
            } else if (bounds.integer) {
                out.add_u32(bounds.key, static_cast<std::uint32_t>(sound));
            } else {
                out.add_f32(bounds.key, static_cast<float>(sound));
            }
        }
        return out;
    };
    const auto integer = [](std::int64_t value) -> Add {
        return [value](auto& file, auto* key) { file.add_u64(key, static_cast<std::uint64_t>(value)); };
    };
    const auto real = [](double value) -> Add {
        return [value](auto& file, auto* key) {
            Bytes bytes;
            test::put_le64(bytes, std::bit_cast<std::uint64_t>(value));
            file.add_raw(key, 12, bytes);  // FLOAT64
        };
    };
    const auto sound = config_of(file_with(nullptr, {}));
    ASSERT_TRUE(sound) << sound.error().to_string();
    EXPECT_EQ(sound->windows, (std::vector<std::int32_t>{128, 0}));
    EXPECT_EQ(sound->rope_scaling.kind, RopeKind::kYarn);
    for (const auto& [bounds, value] : kNumbers) {
        std::vector<Add> wrong{[](auto& file, auto* key) { file.add_i32(key, -1); },
                               [](auto& file, auto* key) { file.add_text(key, "1"); },
                               [](auto& file, auto* key) { file.add_bool(key, true); },
                               [](auto& file, auto* key) { file.add_i32s(key, {1}); },
                               integer(std::numeric_limits<std::int64_t>::max()),
                               integer(std::numeric_limits<std::int64_t>::min()),  // 2^63 as u64
                               real(1e308),
                               real(std::numeric_limits<double>::quiet_NaN())};
        if (bounds.integer) {
            if (bounds.least > 0) wrong.push_back(integer(static_cast<std::int64_t>(bounds.least) - 1));
            wrong.push_back(integer(static_cast<std::int64_t>(bounds.most) + 1));
            wrong.push_back(integer(std::int64_t{1} << 31U));
            wrong.push_back(real(bounds.least + 0.5));
        } else {
            wrong.push_back(real(bounds.least * 0.999));
            wrong.push_back(real(bounds.most * 1.001));
            wrong.push_back(real(std::numeric_limits<double>::infinity()));
        }
        for (std::size_t i = 0; i < wrong.size(); ++i) {
            const auto parsed = config_of(file_with(bounds.key, wrong[i]));
            ASSERT_FALSE(parsed) << bounds.key << ", case " << i;
            EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument) << parsed.error().to_string();
            EXPECT_NE(parsed.error().to_string().find(bounds.key), std::string::npos)
                << bounds.key << ", case " << i << ": " << parsed.error().to_string();
        }
    }
}

TEST(ModelConfigGguf, RefusesUnsupportedSettingsByName) {
    test::GgufBuilder other;
    other.add_text("general.architecture", "qwen2");
    expect_gguf_refused(other, Code::kUnsupported, "the architecture \"qwen2\" is not supported");
    const auto with_u32 = [](const char* key, std::uint32_t value) {
        test::GgufBuilder builder = gguf_sample();
        builder.add_u32(key, value);
        return builder;
    };
    EXPECT_EQ(config_of(with_u32("llama.attention.sliding_window", 128))->windows,
              std::vector<std::int32_t>(2, 128));
    test::GgufBuilder every = with_u32("llama.attention.sliding_window", 128);
    every.add_u32("llama.attention.sliding_window_pattern", 2);
    EXPECT_EQ(config_of(every)->windows, (std::vector<std::int32_t>{128, 0}));
    expect_gguf_refused(with_u32("llama.attention.sliding_window", 0x80000000U), Code::kInvalidArgument,
                        "llama.attention.sliding_window is 2147483648");
    expect_gguf_refused(with_u32("llama.rope.dimension_count", 8), Code::kUnsupported,
                        "llama.rope.dimension_count is 8");
    expect_gguf_refused(with_u32("llama.attention.value_length", 32), Code::kUnsupported,
                        "llama.attention.value_length is 32");
    expect_gguf_refused(with_u32("llama.expert_shared_count", 1), Code::kUnsupported,
                        "llama.expert_shared_count is 1");
    expect_gguf_refused(with_u32("llama.attention.whatever", 1), Code::kUnsupported,
                        "the setting llama.attention.whatever");
    EXPECT_TRUE(config_of(with_u32("llama.attention.sliding_window", 256)));
    EXPECT_TRUE(config_of(with_u32("llama.expert_shared_count", 0)));
    test::GgufBuilder scaled = gguf_sample();
    scaled.add_text("llama.rope.scaling.type", "longrope");
    expect_gguf_refused(scaled, Code::kUnsupported, "llama.rope.scaling.type is \"longrope\"");
    test::GgufBuilder logarithm = gguf_sample();
    logarithm.add_f32("llama.rope.scaling.yarn_log_multiplier", 0.1F);
    expect_gguf_refused(logarithm, Code::kUnsupported, "llama.rope.scaling.yarn_log_multiplier");
}

TEST(ModelConfigGguf, ReadsRopeScalings) {
    test::GgufBuilder linear = gguf_sample();
    linear.add_f32("llama.rope.scaling.factor", 2.0F);  // llama.cpp: linear where no type is named
    EXPECT_EQ(config_of(linear)->rope_scaling, (RopeScaling{.kind = RopeKind::kLinear, .factor = 2.0}));
    test::GgufBuilder older = gguf_sample();
    older.add_f32("llama.rope.scale_linear", 4.0F);
    EXPECT_EQ(config_of(older)->rope_scaling, (RopeScaling{.kind = RopeKind::kLinear, .factor = 4.0}));
    test::GgufBuilder none = gguf_sample();
    none.add_text("llama.rope.scaling.type", "none");
    none.add_f32("llama.rope.scaling.factor", 2.0F);
    EXPECT_EQ(config_of(none)->rope_scaling, RopeScaling{});
    test::GgufBuilder yarn = gguf_sample();
    yarn.add_text("llama.rope.scaling.type", "yarn");
    yarn.add_f32("llama.rope.scaling.factor", 4.0F);
    yarn.add_u32("llama.rope.scaling.original_context_length", 64);
    yarn.add_f32("llama.rope.scaling.yarn_beta_fast", 16.0F);
    EXPECT_EQ(config_of(yarn)->rope_scaling, (RopeScaling{.kind = RopeKind::kYarn,
                                                          .factor = 4.0,
                                                          .original_context = 64,
                                                          .beta_fast = 16.0,
                                                          .attention_factor = 0.1 * std::log(4.0) + 1.0}));
    test::GgufBuilder divisors = gguf_sample();
    divisors.add_tensor("rope_freqs.weight", {8}, 0, Bytes(32));
    EXPECT_EQ(config_of(divisors)->rope_scaling.kind, RopeKind::kDivisors);
    divisors.add_f32("llama.rope.scaling.factor", 2.0F);
    expect_gguf_refused(divisors, Code::kInvalidArgument, "rope_freqs.weight");
    for (const char* key : {"llama.rope.freq_base", "llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
        for (const float value : {0.5F, 1e30F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
            test::GgufBuilder wrong = gguf_sample();
            wrong.add_f32(key, value);
            expect_gguf_refused(wrong, Code::kInvalidArgument, key);
        }
    }
    for (const std::uint32_t value : {0U, 0x80000000U, 0xFFFFFFFFU}) {
        test::GgufBuilder wrong = gguf_sample();
        wrong.add_text("llama.rope.scaling.type", "yarn");
        wrong.add_u32("llama.rope.scaling.original_context_length", value);
        expect_gguf_refused(wrong, Code::kInvalidArgument, "original_context_length is");
    }
}

}  // namespace
}  // namespace ostal::engine
