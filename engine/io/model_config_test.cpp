#include "engine/io/model_config.h"

#include <gtest/gtest.h>

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
        {"rope_scaling", json::Object{{"type", "linear"}, {"factor", 2.0}}},
        {"rope_scaling", json::Object{{"rope_type", "llama3"}, {"factor", 8.0}}},
        {"rope_parameters", json::Object{{"rope_type", "yarn"}}},
        {"sliding_window", 4096},
        {"layer_types", json::Array{"full_attention", "sliding_attention"}},
    };
    for (const auto& [key, value] : kSettings) {
        expect_refused(with(mixtral(), key, value), Code::kUnsupported, key);
        EXPECT_TRUE(parse(with(mixtral(), key, nullptr))) << key;
    }
    expect_refused(with(dense("llama", "LlamaForCausalLM"), "num_local_experts", 4), Code::kUnsupported,
                   "num_local_experts");
    EXPECT_TRUE(parse(with(mixtral(), "partial_rotary_factor", 1.0)));
    EXPECT_TRUE(parse(with(mixtral(), "layer_types", json::Array{"full_attention"})));
}

TEST(ModelConfig, AcceptsAWindowOnlyWhereItHidesNothing) {
    EXPECT_TRUE(parse(with(mixtral(), "sliding_window", 32768)));
    EXPECT_TRUE(parse(with(with(mixtral(), "sliding_window", 4096), "max_position_embeddings", 4096)));
    EXPECT_TRUE(parse(with(with(mixtral(), "sliding_window", 4096), "use_sliding_window", false)));
    expect_refused(with(mixtral(), "sliding_window", 32767), Code::kUnsupported,
                   "sliding_window is 32767, below the context of 32768");
    expect_refused(with(mixtral(), "sliding_window", 0), Code::kInvalidArgument, "sliding_window is 0");
    expect_refused(with(mixtral(), "sliding_window", "4096"), Code::kInvalidArgument,
                   "sliding_window is \"4096\"");
    const json::Object silent = without(dense("mistral", "MistralForCausalLM"), "sliding_window");
    expect_refused(silent, Code::kUnsupported, "the default of a mistral model");
    EXPECT_TRUE(parse(with(silent, "max_position_embeddings", 4096)));
    EXPECT_TRUE(parse(without(mixtral(), "sliding_window")));
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
    for (const char* key : {"rms_norm_eps", "rope_theta"}) {
        expect_refused(without(mixtral(), key), Code::kInvalidArgument, std::string(key) + " is missing");
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

TEST(ModelConfigGguf, RefusesUnsupportedSettingsByName) {
    test::GgufBuilder other;
    other.add_text("general.architecture", "qwen2");
    expect_gguf_refused(other, Code::kUnsupported, "the architecture \"qwen2\" is not supported");
    const auto with_u32 = [](const char* key, std::uint32_t value) {
        test::GgufBuilder builder = gguf_sample();
        builder.add_u32(key, value);
        return builder;
    };
    expect_gguf_refused(with_u32("llama.attention.sliding_window", 128), Code::kUnsupported,
                        "llama.attention.sliding_window is 128");
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
    scaled.add_text("llama.rope.scaling.type", "yarn");
    expect_gguf_refused(scaled, Code::kUnsupported, "llama.rope.scaling.type is \"yarn\"");
    test::GgufBuilder factors = gguf_sample();
    factors.add_tensor("rope_freqs.weight", {8}, 0, Bytes(32));
    expect_gguf_refused(factors, Code::kUnsupported, "rope_freqs.weight");
}

}  // namespace
}  // namespace ostal::engine
