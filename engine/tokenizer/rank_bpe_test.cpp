#include "engine/tokenizer/rank_bpe.h"

#include <gtest/gtest.h>

#include "engine/tokenizer/smollm2_vocabulary.h"
#include "engine/tokenizer/testing.h"

namespace ostal::engine {
namespace {

TEST(RankBpe, EveryCaseGivesTheGoldenIdsOfSmolLm2) {
    const auto vocabulary = testing::smollm2_vocabulary();
    if (!vocabulary) GTEST_SKIP() << "OSTAL_MODELS does not name the folder of SmolLM2's GGUF file";
    EXPECT_EQ(vocabulary->pre, "smollm");
    const auto tokenizer = load_embedded_tokenizer(*vocabulary);
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    EXPECT_EQ((*tokenizer)->bos(), 1);
    EXPECT_EQ((*tokenizer)->eos(), 2);
    EXPECT_EQ((*tokenizer)->control("<|im_end|>"), 2);
    EXPECT_FALSE((*tokenizer)->has_dummy_prefix());
    const json::Value file = testing::golden("text-smollm2.json");
    EXPECT_GE(file.find("cases")->as_array().size(), 97U);
    testing::expect_golden_texts(**tokenizer, file);
}

std::vector<std::string> alphabet() {
    std::vector<std::string> names(256);
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
        const bool printable =
            (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        testing::append_utf8(names[byte], printable ? byte : next++);
    }
    return names;
}

// The 256 bytes (id = byte), "th" "the" "Ġthe", a user-defined and a control token.
RankBpeVocabulary byte_vocabulary() {
    RankBpeVocabulary out;
    for (const std::string& name : alphabet()) out.tokens.push_back({name, "", TokenType::kNormal});
    for (const char* name : {"th", "the", "Ġthe"}) out.tokens.push_back({name, "", TokenType::kNormal});
    out.tokens.push_back({"<think>", "", TokenType::kUserDefined});
    out.tokens.push_back({"<|end|>", "", TokenType::kControl});
    out.merges = {{"t", "h"}, {"th", "e"}, {"Ġ", "the"}};
    out.splits = {Split::kGpt2};
    return out;
}

std::vector<TokenId> encode(RankBpeVocabulary vocabulary, std::string_view text) {
    const auto tokenizer = make_rank_bpe_tokenizer(std::move(vocabulary));
    EXPECT_TRUE(tokenizer.has_value());
    const auto ids = (*tokenizer)->encode(text);
    EXPECT_TRUE(ids.has_value());
    EXPECT_EQ((*tokenizer)->decode(*ids), text);
    return *ids;
}

TEST(RankBpe, MergesWithinPieces) {
    EXPECT_EQ(encode(byte_vocabulary(), "the the"), (std::vector<TokenId>{257, 258}));
    EXPECT_EQ(encode(byte_vocabulary(), "t the"), (std::vector<TokenId>{'t', 258}));
    EXPECT_EQ(encode(byte_vocabulary(), "t-he"), (std::vector<TokenId>{'t', '-', 'h', 'e'}));
}

TEST(RankBpe, UserDefinedTokensComeFromTextAndControlTokensDoNot) {
    EXPECT_EQ(encode(byte_vocabulary(), "the<think>the"), (std::vector<TokenId>{257, 259, 257}));
    EXPECT_EQ(encode(byte_vocabulary(), "<|end|>").size(), 7U);
}

TEST(RankBpe, IgnoreMergesTakesAPieceThatIsATokenWhole) {
    RankBpeVocabulary vocabulary = byte_vocabulary();
    vocabulary.merges = {{"h", "e"}, {"t", "h"}, {"th", "e"}, {"Ġ", "the"}};
    vocabulary.tokens.push_back({"he", "", TokenType::kNormal});
    EXPECT_EQ(encode(vocabulary, "the"), (std::vector<TokenId>{'t', 261}));
    vocabulary.ignore_merges = true;
    EXPECT_EQ(encode(vocabulary, "the"), (std::vector<TokenId>{257}));
}

TEST(RankBpe, DecodeOfEncodeIsTheText) {
    const auto tokenizer = make_rank_bpe_tokenizer(byte_vocabulary());
    ASSERT_TRUE(tokenizer.has_value());
    SeededRandom random(3);
    for (int i = 0; i < 3000; ++i) {
        const std::string text = testing::random_text(random, random.below(60));
        ASSERT_EQ((*tokenizer)->decode(*(*tokenizer)->encode(text)), text);
    }
}

TEST(RankBpe, LongTextsTakeAboutLinearTime) {
    RankBpeVocabulary vocabulary = byte_vocabulary();
    std::string name = "a";
    for (int i = 0; i < 5; ++i) {
        vocabulary.merges.push_back({name, name});
        name += name;
        vocabulary.tokens.push_back({name, "", TokenType::kNormal});
    }
    const auto tokenizer = make_rank_bpe_tokenizer(std::move(vocabulary));
    ASSERT_TRUE(tokenizer.has_value());
    SeededRandom random(4);
    for (const std::string& text : {std::string(1'000'000, 'a'), std::string(1'000'000, ' '),
                                    std::string(1'000'000, '\n'), testing::random_text(random, 400'000)}) {
        const auto ids = (*tokenizer)->encode(text);
        ASSERT_TRUE(ids.has_value());
        EXPECT_EQ((*tokenizer)->decode(*ids).size(), text.size());
    }
}

TEST(RankBpe, RefusesVocabulariesThatDoNotHoldTogether) {
    const auto refused = [](auto change) {
        RankBpeVocabulary vocabulary = byte_vocabulary();
        change(vocabulary);
        const auto tokenizer = make_rank_bpe_tokenizer(std::move(vocabulary));
        return !tokenizer && tokenizer.error().code() == Code::kInvalidArgument;
    };
    EXPECT_TRUE(refused([](auto& v) { v.tokens.push_back({"the", "", TokenType::kNormal}); }));
    EXPECT_TRUE(refused([](auto& v) { v.tokens.push_back({"", "", TokenType::kNormal}); }));
    EXPECT_TRUE(refused([](auto& v) { v.tokens.push_back({"\xC3", "", TokenType::kNormal}); }));
    EXPECT_TRUE(refused([](auto& v) { v.tokens.push_back({"<0xZZ>", "", TokenType::kByte}); }));
    EXPECT_TRUE(refused([](auto& v) { v.merges.push_back({"x", "y"}); }));
    EXPECT_TRUE(refused([](auto& v) { v.merges.push_back({"t", "h"}); }));
    EXPECT_TRUE(refused([](auto& v) { v.bos = 261; }));
    EXPECT_TRUE(refused([](auto& v) { v.eos = -2; }));
}

}  // namespace
}  // namespace ostal::engine
