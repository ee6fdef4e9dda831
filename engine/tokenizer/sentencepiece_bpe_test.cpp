#include "engine/tokenizer/sentencepiece_bpe.h"

#include <gtest/gtest.h>

#include "engine/tokenizer/testing.h"
#include "engine/tokenizer/token_table.h"

namespace ostal::engine {
namespace {

using testing::append_utf8;
using testing::random_text;

class GoldenTexts : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTexts, EveryCaseGivesTheGoldenIds) {
    const json::Value file = testing::golden(std::string("text-") + GetParam() + ".json");
    const auto path = testing::file_under("OSTAL_TOKENIZERS", file.find("tokenizer_file")->as_string());
    if (!path) GTEST_SKIP() << "OSTAL_TOKENIZERS does not name the folder of Mistral's tokenizer files";
    const auto tokenizer = testing::load(*path);
    ASSERT_NE(tokenizer, nullptr);
    EXPECT_EQ(tokenizer->vocab_size(), *file.find("vocab")->to_int64());
    EXPECT_EQ(tokenizer->bos(), 1);
    EXPECT_EQ(tokenizer->eos(), 2);
    EXPECT_GE(file.find("cases")->as_array().size(), 97U);
    testing::expect_golden_texts(*tokenizer, file);
}
INSTANTIATE_TEST_SUITE_P(Versions, GoldenTexts, ::testing::Values("v1", "v2", "v3", "v7"),
                         [](const auto& version) { return std::string(version.param); });

SentencePieceModel::Piece piece(std::string text, float score, TokenType type = TokenType::kNormal) {
    return {std::move(text), score, type};
}

// <unk> <s> </s>, the letters a b c and a space, and some merges.
SentencePieceModel small_model() {
    SentencePieceModel model;
    model.remove_extra_whitespaces = false;
    model.bos = 1;
    model.eos = 2;
    model.pieces = {piece("<unk>", 0, TokenType::kUnknown),
                    piece("<s>", 0, TokenType::kControl),
                    piece("</s>", 0, TokenType::kControl),
                    piece("\xE2\x96\x81", -1),
                    piece("a", -2),
                    piece("b", -3),
                    piece("c", -4),
                    piece("ab", -0.5F),
                    piece("bc", -0.25F),
                    piece("\xE2\x96\x81"
                          "a",
                          -0.75F)};
    return model;
}

std::vector<TokenId> encode(const SentencePieceModel& model, std::string_view text) {
    const auto ids = make_sentencepiece_tokenizer(model)->encode(text);
    EXPECT_TRUE(ids.has_value());
    return *ids;
}

TEST(SentencePieceBpe, MergesTheBestScoreFirstAndTheLeftmostAmongEquals) {
    SentencePieceModel model = small_model();
    EXPECT_EQ(encode(model, "abc"), (std::vector<TokenId>{9, 8}));  // bc before ab, then ▁a
    EXPECT_EQ(encode(model, "ab"), (std::vector<TokenId>{3, 7}));   // ab before ▁a
    model.pieces[7].score = model.pieces[8].score;
    EXPECT_EQ(encode(model, "abc"), (std::vector<TokenId>{3, 7, 6}));  // ab is left of bc
}

TEST(SentencePieceBpe, AddsTheDummyPrefixToEveryTextButTheEmptyOne) {
    SentencePieceModel model = small_model();
    EXPECT_EQ(encode(model, ""), (std::vector<TokenId>{}));
    EXPECT_EQ(encode(model, " "), (std::vector<TokenId>{3, 3}));
    model.add_dummy_prefix = false;
    EXPECT_EQ(encode(model, "a"), (std::vector<TokenId>{4}));
    EXPECT_FALSE(make_sentencepiece_tokenizer(model)->has_dummy_prefix());
}

TEST(SentencePieceBpe, RemovesExtraSpacesWhenTheModelAsksForIt) {
    SentencePieceModel model = small_model();
    model.remove_extra_whitespaces = true;
    EXPECT_EQ(encode(model, "   "), (std::vector<TokenId>{}));
    EXPECT_EQ(encode(model, "  c   c "), (std::vector<TokenId>{3, 6, 3, 6}));
}

TEST(SentencePieceBpe, ControlPiecesNeverComeFromText) {
    SentencePieceModel model = small_model();
    model.pieces.push_back(piece("<", -5));
    model.pieces.push_back(piece("s", -5));
    model.pieces.push_back(piece(">", -5));
    EXPECT_EQ(encode(model, "<s>"), (std::vector<TokenId>{3, 10, 11, 12}));
    const auto tokenizer = make_sentencepiece_tokenizer(model);
    EXPECT_EQ(tokenizer->control("<s>"), 1);
    EXPECT_FALSE(tokenizer->control("<unk>").has_value());
    EXPECT_FALSE(tokenizer->control("a").has_value());
    EXPECT_TRUE(tokenizer->is_control(2));
    EXPECT_EQ(tokenizer->token_bytes(2), "");
}

TEST(SentencePieceBpe, ARunOfUnknownCharactersIsOneUnknownPiece) {
    EXPECT_EQ(encode(small_model(), "xyaz"), (std::vector<TokenId>{3, 0, 4, 0}));
    EXPECT_EQ(make_sentencepiece_tokenizer(small_model())->decode({3, 0, 4}), " \xE2\x81\x87 a");
}

TEST(SentencePieceBpe, UserDefinedPiecesAreTakenWholeTheLongestFirst) {
    SentencePieceModel model = small_model();
    model.pieces.push_back(piece("ca", 0, TokenType::kUserDefined));
    model.pieces.push_back(piece("cab", 0, TokenType::kUserDefined));
    EXPECT_EQ(encode(model, "acabca"), (std::vector<TokenId>{9, 11, 10}));
}

TEST(SentencePieceBpe, UnusedPiecesAreTakenApartAgain) {
    SentencePieceModel model = small_model();
    model.pieces[8].type = TokenType::kUnused;  // bc
    EXPECT_EQ(encode(model, "bc"), (std::vector<TokenId>{3, 5, 6}));
}

TEST(SentencePieceBpe, RefusesWhatIsNotUtf8) {
    const auto ids = make_sentencepiece_tokenizer(small_model())->encode("a\xC3");
    ASSERT_FALSE(ids.has_value());
    EXPECT_EQ(ids.error().code(), Code::kInvalidArgument);
}

TEST(SentencePieceBpe, DecodeTurnsBrokenBytesIntoReplacementCharacters) {
    const auto tokenizer = testing::ostal_mini();
    ASSERT_NE(tokenizer, nullptr);
    std::vector<TokenId> ids = *tokenizer->encode("\xF0\x9F\x98\x80");
    EXPECT_EQ(tokenizer->decode(ids), "\xF0\x9F\x98\x80");
    ids.pop_back();
    EXPECT_EQ(tokenizer->decode(ids), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(SentencePieceBpe, DecodeOfEncodeIsTheText) {
    const auto tokenizer = testing::ostal_mini();
    ASSERT_NE(tokenizer, nullptr);
    SeededRandom random(1);
    for (int i = 0; i < 3000; ++i) {
        const std::string text = random_text(random, random.below(60));
        if (text.find(kSpaceSymbol) != std::string::npos)
            continue;  // decodes as a space: SentencePiece's own loss
        const auto ids = tokenizer->encode(text);
        ASSERT_TRUE(ids.has_value());
        ASSERT_EQ(tokenizer->decode(*ids), text) << json::quote(text);
        for (const TokenId id : *ids) ASSERT_FALSE(tokenizer->is_control(id));
    }
}

// A quadratic encoder would take hours here.
TEST(SentencePieceBpe, LongTextsTakeAboutLinearTime) {
    const auto tokenizer = testing::ostal_mini();
    ASSERT_NE(tokenizer, nullptr);
    SeededRandom random(2);
    std::string letters;
    while (letters.size() < 1'000'000) letters += static_cast<char>('a' + random.below(26));
    for (const std::string& text :
         {std::string(1'000'000, 'a'), std::string(1'000'000, ' '), letters, random_text(random, 400'000)}) {
        const auto ids = tokenizer->encode(text);
        ASSERT_TRUE(ids.has_value());
        EXPECT_EQ(tokenizer->decode(*ids).size(), text.size());
    }
}

}  // namespace
}  // namespace ostal::engine
