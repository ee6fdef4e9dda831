#include "engine/tokenizer/embed.h"

#include <gtest/gtest.h>

#include "engine/tokenizer/testing.h"

namespace ostal::engine {
namespace {

using testing::random_text;

Result<EmbeddedVocabulary> embed(std::string_view text, std::string_view name, std::int32_t vocab) {
    return embedded_vocabulary(as_bytes(text), name, {}, vocab);
}

// The file and what is embedded of it give the same ids and texts.
void expect_same(const std::string& file, std::string_view name, std::int32_t padding) {
    const auto original = load_tokenizer_file(as_bytes(file), name);
    ASSERT_TRUE(original) << original.error().to_string();
    const std::int32_t vocab = (*original)->vocab_size() + padding;
    const auto vocabulary = embed(file, name, vocab);
    ASSERT_TRUE(vocabulary) << vocabulary.error().to_string();
    EXPECT_EQ(vocabulary->tokens.size(), static_cast<std::size_t>(vocab));
    const auto embedded = load_embedded_tokenizer(*vocabulary);
    ASSERT_TRUE(embedded) << embedded.error().to_string();
    EXPECT_EQ((*embedded)->bos(), (*original)->bos());
    EXPECT_EQ((*embedded)->eos(), (*original)->eos());
    EXPECT_EQ((*embedded)->adds_bos(), (*original)->adds_bos());
    SeededRandom random(11);
    std::vector<std::string> texts = {"", " ", "  two  spaces ", "[PAD7] <s> [INST]", "1234 x"};
    for (int i = 0; i < 300; ++i) texts.push_back(random_text(random, 1 + random.below(60)));
    for (const std::string& text : texts) {
        const auto expected = (*original)->encode(text);
        const auto got = (*embedded)->encode(text);
        ASSERT_TRUE(expected && got);
        ASSERT_EQ(*got, *expected) << json::quote(text);
        ASSERT_EQ((*embedded)->decode(*got), (*original)->decode(*expected)) << json::quote(text);
    }
}

TEST(Embed, SentencePieceGivesTheSameIds) {
    const std::string file = testing::read_file("models/ostal-mini/tokenizer.model");
    expect_same(file, "tokenizer.model", 0);
    expect_same(file, "tokenizer.model", 5);
}

TEST(Embed, MistralsFilesGiveTheSameIds) {
    const auto folder = testing::file_under("OSTAL_TOKENIZERS", "");
    if (!folder) GTEST_SKIP() << "OSTAL_TOKENIZERS does not name the folder of Mistral's tokenizer files";
    for (const char* name : {"tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"}) {
        expect_same(testing::read_file(*folder + name), name, 0);
    }
}

constexpr std::string_view kByteLevel = R"({
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [
    {"id": 8, "content": "<|end_of_text|>", "single_word": false, "lstrip": false, "rstrip": false,
     "normalized": false, "special": true},
    {"id": 10, "content": "<tool>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
     "special": false}],
  "normalizer": null,
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": true},
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
  "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
  "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
    "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
    "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4, "1": 5, "2": 6, "x": 7},
    "merges": ["a b", "Ġ ab"]}
})";

TEST(Embed, ByteLevelGivesTheSameIds) {
    expect_same(std::string(kByteLevel), "tokenizer.json", 3);
    const auto vocabulary = embed(kByteLevel, "tokenizer.json", 12);
    ASSERT_TRUE(vocabulary);
    EXPECT_EQ(vocabulary->model, "gpt2");
    EXPECT_EQ(vocabulary->pre, "smollm");
    EXPECT_EQ(vocabulary->tokens[9], "[PAD9]");  // a hole in the file
    EXPECT_EQ(vocabulary->tokens[11], "[PAD11]");
    EXPECT_EQ(vocabulary->token_types, (std::vector<std::int32_t>{1, 1, 1, 1, 1, 1, 1, 1, 3, 5, 4, 5}));
    EXPECT_EQ(vocabulary->merges, (std::vector<std::string>{"a b", "Ġ ab"}));
}

TEST(Embed, WhatGgufCannotSayIsRefusedByName) {
    const auto tekken = embed("{}", "tekken.json", 10);
    ASSERT_FALSE(tekken);
    EXPECT_EQ(tekken.error().code(), Code::kUnsupported);
    EXPECT_NE(tekken.error().message().find("tekken"), std::string::npos);
    // Runs of digits have no name there.
    std::string runs(kByteLevel);
    runs.replace(runs.find("\"individual_digits\": true"), 25, "\"individual_digits\": false");
    const auto cut = embed(runs, "tokenizer.json", 10);
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.error().code(), Code::kUnsupported);
    EXPECT_NE(cut.error().message().find("cuts text"), std::string::npos);
}

}  // namespace
}  // namespace ostal::engine
