#include "engine/io/model_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "engine/io/model_config_fixture.h"

namespace ostal::engine {
namespace {

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
TEST(MistralParams, EveryTruthValueIsOne) {
    for (const json::Value& value : {json::Value(0), json::Value(1), json::Value(1e308), json::Value("true"),
                                     json::Value(json::Array{}), json::Value(json::Object{})}) {
        for (const char* key : {"tied_embeddings", "yarn.apply_scale"}) {
            json::Object config = params();
            set_path(config, key, value);
            expect_params_refused(
                config, Code::kInvalidArgument,
                std::string(key) + " is " + json::to_string(value) + ", expected true or false");
        }
    }
}

}  // namespace
}  // namespace ostal::engine
