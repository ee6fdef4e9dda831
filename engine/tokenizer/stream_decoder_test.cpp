#include "engine/tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include "engine/tokenizer/testing.h"

namespace ostal::engine {
namespace {

std::vector<std::string> deltas(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                                bool starts_text = true) {
    StreamDecoder decoder(tokenizer, starts_text);
    std::vector<std::string> out;
    for (const TokenId id : ids) out.push_back(decoder.push(id));
    out.push_back(decoder.flush());
    return out;
}
std::string joined(const std::vector<std::string>& parts) {
    std::string out;
    for (const std::string& part : parts) out += part;
    return out;
}

TEST(StreamDecoder, HoldsACharacterBackUntilItIsWhole) {
    const auto tokenizer = testing::ostal_mini();
    const auto ids = *tokenizer->encode("a\xF0\x9F\x98\x80");  // the emoji has four byte pieces
    EXPECT_EQ(deltas(*tokenizer, ids).back(), "");
    for (const std::string& delta : deltas(*tokenizer, ids)) EXPECT_TRUE(is_valid_utf8(delta));
    EXPECT_EQ(joined(deltas(*tokenizer, ids)), "a\xF0\x9F\x98\x80");
}

TEST(StreamDecoder, RemovesTheDummyPrefixAtTheStartOfATextOnly) {
    const auto tokenizer = testing::ostal_mini();
    const auto ids = *tokenizer->encode("the the");
    EXPECT_EQ(joined(deltas(*tokenizer, ids)), "the the");
    EXPECT_EQ(joined(deltas(*tokenizer, ids, false)), " the the");
    std::vector<TokenId> after_control{tokenizer->bos()};
    after_control.insert(after_control.end(), ids.begin(), ids.end());
    EXPECT_EQ(joined(deltas(*tokenizer, after_control)), "the the");
}

TEST(StreamDecoder, AnIncompleteCharacterAtTheEndBecomesReplacementCharacters) {
    const auto tokenizer = testing::ostal_mini();
    auto ids = *tokenizer->encode("x\xF0\x9F\x98\x80");
    ids.pop_back();
    const auto parts = deltas(*tokenizer, ids);
    EXPECT_EQ(parts.back(), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    EXPECT_EQ(joined(parts), tokenizer->decode(ids));
}

TEST(StreamDecoder, DeltasOfAnyTokensAreTheDecodedText) {
    const auto tokenizer = testing::ostal_mini();
    SeededRandom random(6);
    for (int i = 0; i < 2000; ++i) {
        std::vector<TokenId> ids;
        for (std::uint64_t n = random.below(40); n > 0; --n) {
            // Byte pieces often, so that broken and whole characters come about.
            const auto bound =
                random.below(2) == 0 ? 300 : static_cast<std::uint64_t>(tokenizer->vocab_size());
            ids.push_back(static_cast<TokenId>(random.below(bound)));
        }
        const auto parts = deltas(*tokenizer, ids);
        for (const std::string& part : parts) ASSERT_TRUE(is_valid_utf8(part));
        ASSERT_EQ(joined(parts), tokenizer->decode(ids));
    }
}

TEST(AppendValidUtf8, EveryBrokenByteIsOneReplacementCharacter) {
    std::string out;
    append_valid_utf8(out, "a\xC3\xA9\xE2\x82z\xFF");
    EXPECT_EQ(out, "a\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD");
}

}  // namespace
}  // namespace ostal::engine
