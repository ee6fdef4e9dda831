#include "engine/io/model_config.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/io/gguf.h"
#include "engine/io/model_config_fixture.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

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
