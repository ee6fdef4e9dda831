#include "engine/io/model_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "engine/io/model_config_fixture.h"

namespace ostal::engine {
namespace {

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

// A truth value that is a number, a text or a list: named with what was expected.
TEST(ModelConfig, EveryTruthValueIsOne) {
    const json::Object yarn{
        {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 8192}};
    const json::Object sound = with(mixtral(), "rope_scaling", yarn);
    for (const json::Value& value : {json::Value(0), json::Value(1), json::Value(1e308), json::Value("true"),
                                     json::Value(json::Array{}), json::Value(json::Object{})}) {
        for (const char* key : {"tie_word_embeddings", "rope_scaling.truncate"}) {
            json::Object config = sound;
            set_path(config, key, value);
            expect_refused(config, Code::kInvalidArgument,
                           std::string(key) + " is " + json::to_string(value) + ", expected true or false");
        }
    }
}

}  // namespace
}  // namespace ostal::engine
