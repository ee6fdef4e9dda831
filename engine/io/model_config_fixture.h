// What the tests of configurations share: sound ones, and numbers beyond their bounds.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/io/model_config.h"

namespace ostal::engine {

inline json::Object mixtral() {
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
inline json::Object with(json::Object config, const std::string& key, json::Value value) {
    config.set(key, std::move(value));
    return config;
}
inline json::Object without(json::Object config, const std::string& key) {
    config.erase(key);
    return config;
}
inline json::Object dense(const std::string& type, const std::string& name) {
    json::Object config = with(with(mixtral(), "model_type", type), "architectures", json::Array{name});
    config.erase("num_local_experts");
    config.erase("num_experts_per_tok");
    return config;
}
inline Result<ModelConfig> parse(const json::Object& config) {
    return parse_model_config(json::to_string(config));
}

inline void expect_refused(const json::Object& config, Code code, const std::string& part) {
    const auto parsed = parse(config);
    ASSERT_FALSE(parsed) << part;
    EXPECT_EQ(parsed.error().code(), code) << parsed.error().to_string();
    EXPECT_NE(parsed.error().to_string().find(part), std::string::npos) << parsed.error().to_string();
}

// A number of a configuration with its bounds; optional ones have a default where they are null.
struct Numeric {
    const char* key;  // "a.b" is member b of object a
    double least;
    double most;
    bool integer = true;
    bool optional = false;
};

inline void set_path(json::Object& object, const std::string& path, const json::Value& value) {
    const std::size_t dot = path.find('.');
    if (dot == std::string::npos) return object.set(path, value);
    set_path(object.find(path.substr(0, dot))->as_object(), path.substr(dot + 1), value);
}

// Every number just outside of its bounds, huge, and of another type: an error that names the key.
inline void expect_numbers_checked(const json::Object& sound, Result<ModelConfig> (*read)(std::string_view),
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

}  // namespace ostal::engine
