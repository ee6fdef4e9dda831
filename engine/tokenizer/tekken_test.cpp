#include "engine/tokenizer/tekken.h"

#include <gtest/gtest.h>

#include "engine/tokenizer/stream_decoder.h"
#include "engine/tokenizer/testing.h"

namespace ostal::engine {
namespace {

json::Value special(std::int64_t rank, const char* name) {
    return json::Object{{"rank", rank}, {"token_str", name}, {"is_control", true}};
}

// Five control tokens (the third has no name), the 256 bytes, and "th", "the", " the", "he".
json::Value small_file() {
    json::Value file =
        testing::tekken_file({"<unk>", "<s>", "</s>", "", "[THINK]"}, {"th", "the", " the", "he"});
    json::Array& specials = file.as_object().find("special_tokens")->as_array();
    specials.erase(specials.begin() + 3);
    return file;
}

Result<std::unique_ptr<Tokenizer>> load(const json::Value& file) {
    const std::string text = json::to_string(file);
    return load_tokenizer_file(as_bytes(text), "models/x/tekken.json");
}

TEST(Tekken, ReadsASmallFile) {
    const auto tokenizer = load(small_file());
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    const Tokenizer& t = **tokenizer;
    EXPECT_EQ(t.vocab_size(), 265);
    EXPECT_EQ(t.bos(), 1);
    EXPECT_EQ(t.eos(), 2);
    EXPECT_TRUE(t.adds_bos());
    EXPECT_FALSE(t.has_dummy_prefix());
    EXPECT_EQ(t.control("[THINK]"), 4);
    EXPECT_EQ(t.control("<SPECIAL_3>"), 3);
    EXPECT_FALSE(t.control("the").has_value());
    EXPECT_EQ(t.token_bytes(262), "the");
    EXPECT_EQ(t.token_bytes(5 + 0xFF), "\xFF");
    EXPECT_EQ(t.token_bytes(4), "");
    EXPECT_EQ(t.reasoning_efforts(), nullptr);
    // "th" before "he" by rank; a piece that is a token is that token; a control token's name is text.
    EXPECT_EQ(*t.encode("the the"), (std::vector<TokenId>{262, 263}));
    EXPECT_EQ(*t.encode("thee"), (std::vector<TokenId>{262, 5 + 'e'}));
    EXPECT_EQ(*t.encode("</s>"), (std::vector<TokenId>{5 + '<', 5 + '/', 5 + 's', 5 + '>'}));
    EXPECT_EQ(t.decode({1, 262, 3, 263, 2}), "the the");
    EXPECT_EQ(t.encode("\xFF").error().code(), Code::kInvalidArgument);
}

TEST(Tekken, AFileWithoutSpecialTokensTakesTheConventionalIds) {
    json::Value file = small_file();
    file.as_object().erase("special_tokens");
    json::Object& config = file.as_object().find("config")->as_object();
    config.set("default_num_special_tokens", 40);
    config.set("default_vocab_size", 300);
    const auto tokenizer = load(file);
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    for (const auto& [name, id] :
         std::initializer_list<std::pair<const char*, TokenId>>{{"<s>", 1},
                                                                {"[INST]", 3},
                                                                {"[TOOL_CALLS]", 9},
                                                                {"[SUFFIX]", 16},
                                                                {"[TOOL_CONTENT]", 19},
                                                                {"<SPECIAL_20>", 20},
                                                                {"[ARGS]", 32},
                                                                {"[CALL_ID]", 33},
                                                                {"[/THINK]", 35},
                                                                {"[MODEL_SETTINGS]", 37}}) {
        EXPECT_EQ((*tokenizer)->control(name), id) << name;
    }
    EXPECT_EQ((*tokenizer)->token_bytes(40 + 257), "the");
}

TEST(Tekken, TheModelSettingsAreRead) {
    json::Value file = small_file();
    json::Value field = json::Object{{"type", "enum"},
                                     {"accepts_none", true},
                                     {"default", "none"},
                                     {"values", json::Array{"none", "high"}}};
    file.as_object().set("model_settings_builder", json::Object{{"reasoning_effort", field}});
    const auto tokenizer = load(file);
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    const ReasoningEfforts* efforts = (*tokenizer)->reasoning_efforts();
    ASSERT_NE(efforts, nullptr);
    EXPECT_EQ(efforts->values, (std::vector<std::string>{"none", "high"}));
    EXPECT_EQ(efforts->when_absent, "none");
    EXPECT_FALSE(efforts->required);
}

TEST(Tekken, WhatDoesNotHoldTogetherIsRefusedAndNamed) {
    const auto refused = [](auto change, Code code, std::string_view what) {
        json::Value file = small_file();
        change(file.as_object());
        const auto tokenizer = load(file);
        ASSERT_FALSE(tokenizer.has_value()) << what;
        EXPECT_EQ(tokenizer.error().code(), code) << tokenizer.error().message();
        EXPECT_NE(tokenizer.error().message().find(what), std::string::npos) << tokenizer.error().message();
    };
    const auto config = [](const char* key, json::Value value) {
        return [=](json::Object& file) { file.find("config")->as_object().set(key, value); };
    };
    const auto token = [](std::size_t at, const char* key, json::Value value) {
        return [=](json::Object& file) { file.find("vocab")->as_array()[at].as_object().set(key, value); };
    };
    const auto specials = [](json::Array list) {
        return [=](json::Object& file) { file.set("special_tokens", list); };
    };
    const json::Value unk = special(0, "<unk>"), bos = special(1, "<s>"), eos = special(2, "</s>");
    refused(config("pattern", "[a-z]+"), Code::kUnsupported, "[a-z]+");
    refused(config("version", "v99"), Code::kUnsupported, "v99");
    refused(config("dropout", 1), Code::kUnsupported, "dropout");
    refused(config("default_vocab_size", 266), Code::kInvalidArgument, "261 are needed");
    refused(config("default_vocab_size", 260), Code::kInvalidArgument, "256 bytes");
    refused(config("default_vocab_size", -1), Code::kInvalidArgument, "default_vocab_size");
    refused(config("default_vocab_size", 1e9), Code::kInvalidArgument, "default_vocab_size");
    refused(config("default_vocab_size", std::int64_t{1} << 40), Code::kTooLarge, "default_vocab_size");
    refused(config("default_num_special_tokens", 1 << 20), Code::kTooLarge, "default_num_special_tokens");
    refused(config("default_num_special_tokens", 4), Code::kInvalidArgument, "[THINK]");
    refused([](json::Object& file) { file.erase("config"); }, Code::kInvalidArgument, "config");
    refused([](json::Object& file) { file.erase("vocab"); }, Code::kInvalidArgument, "vocab");
    refused([](json::Object& file) { file.set("merges", json::Array{}); }, Code::kUnsupported, "merges");
    refused(token(7, "rank", 8), Code::kInvalidArgument, "rank 7");
    refused(token(7, "token_bytes", "AA=="), Code::kInvalidArgument, "rank 7");
    refused(token(257, "token_bytes", ""), Code::kInvalidArgument, "rank 257");
    refused(token(257, "token_bytes", "d!=="), Code::kInvalidArgument, "rank 257");
    refused(token(257, "token_bytes", 1), Code::kInvalidArgument, "rank 257");
    refused(token(257, "token_bytes", "dGg="), Code::kInvalidArgument, "rank 257");  // "th" again
    refused(token(257, "token_bytes", to_base64(Bytes(5000))), Code::kTooLarge, "rank 257");
    refused(token(257, "score", 1), Code::kUnsupported, "score");
    refused(specials({unk, bos}), Code::kInvalidArgument, "</s>");
    refused(specials({unk, bos, eos, special(2, "x")}), Code::kInvalidArgument, "id 2");
    refused(specials({unk, bos, eos, special(3, "<s>")}), Code::kInvalidArgument, "<s>");
    refused(specials({unk, bos, eos, special(5, "x")}), Code::kInvalidArgument, "id 5");
    refused(specials({unk, bos, eos, special(3, "")}), Code::kInvalidArgument, "control token 3");
    refused(
        [](json::Object& file) {
            file.set("model_settings_builder", json::Object{{"temperature", 1}});
        },
        Code::kUnsupported, "temperature");
}

TEST(Tekken, EveryGoldenTextGivesItsIds) {
    const Tokenizer* tokenizer = testing::tekken();
    if (tokenizer == nullptr) GTEST_SKIP() << testing::kNoTokenizers;
    EXPECT_EQ(tokenizer->vocab_size(), 131072);
    const json::Value file = testing::golden("text-tekken.json");
    ASSERT_EQ(file.find("cases")->as_array().size(), 97U);
    testing::expect_golden_texts(*tokenizer, file);
    for (const auto& [name, id] : file.find("special_ids")->as_object()) {
        EXPECT_EQ(tokenizer->control(name), static_cast<TokenId>(*id.to_int64())) << name;
    }
}

TEST(Tekken, DecodeOfEncodeIsTheTextInWholeAndStreamed) {
    const Tokenizer* tokenizer = testing::tekken();
    if (tokenizer == nullptr) GTEST_SKIP() << testing::kNoTokenizers;
    SeededRandom random(11);
    for (int i = 0; i < 2000; ++i) {
        const std::string text = testing::random_text(random, random.below(60));
        const auto ids = tokenizer->encode(text);
        ASSERT_TRUE(ids.has_value());
        for (const TokenId id : *ids) ASSERT_FALSE(tokenizer->is_control(id));
        ASSERT_EQ(tokenizer->decode(*ids), text);
        StreamDecoder decoder(*tokenizer);
        std::string streamed;
        for (const TokenId id : *ids) {
            const std::string delta = decoder.push(id);
            ASSERT_TRUE(is_valid_utf8(delta)) << json::quote(text);
            streamed += delta;
        }
        streamed += decoder.flush();
        ASSERT_EQ(streamed, text);
    }
}

TEST(Tekken, AStreamHoldsAnIncompleteCharacterBack) {
    const auto loaded = load(small_file());
    ASSERT_TRUE(loaded.has_value());
    StreamDecoder decoder(**loaded);
    EXPECT_EQ(decoder.push(5 + 0xE2), "");
    EXPECT_EQ(decoder.push(5 + 0x82), "");
    EXPECT_EQ(decoder.push(2), "");  // a control token in between gives no text
    EXPECT_EQ(decoder.push(5 + 0xAC), "\xE2\x82\xAC");
    EXPECT_EQ(decoder.push(5 + 0xF0), "");
    EXPECT_EQ(decoder.push(262), "\xEF\xBF\xBDthe");  // broken off by a token that is whole
    EXPECT_EQ(decoder.push(5 + 0xC3), "");
    EXPECT_EQ(decoder.flush(), "\xEF\xBF\xBD");
}

// Quadratic work over these would take minutes.
TEST(Tekken, LongTextsTakeAboutLinearTime) {
    const Tokenizer* tokenizer = testing::tekken();
    if (tokenizer == nullptr) GTEST_SKIP() << testing::kNoTokenizers;
    SeededRandom random(12);
    std::string alternating;
    for (int i = 0; i < 100'000; ++i)
        alternating +=
            "\xE4\xB8\x96"
            "A";
    for (const std::string& text :
         {std::string(1'000'000, 'a'), std::string(1'000'000, 'A'), std::string(1'000'000, ' '),
          std::string(1'000'000, '\n'), std::string(1'000'000, '/'), std::string(500'000, ' ') + "x",
          alternating, testing::random_text(random, 300'000)}) {
        const auto ids = tokenizer->encode(text);
        ASSERT_TRUE(ids.has_value());
        EXPECT_EQ(tokenizer->decode(*ids).size(), text.size());
    }
}

}  // namespace
}  // namespace ostal::engine
