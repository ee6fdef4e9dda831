#include "appliance/api/log_probs.h"

#include <gtest/gtest.h>

#include <limits>

#include "appliance/api/test_tokenizer.h"

namespace ostal::api {
namespace {

// 0 the end, 1 " a", 2 and 3 the halves of an é, 4 "b"
const TokenTexts& texts() {
    static const TokenTexts kTexts(WordTokenizer({{"</s>", true}, {" a"}, {"\xC3"}, {"\xA9"}, {"b"}}));
    return kTexts;
}

TEST(LogProbs, ChatShapeHasBytesAndLeavesTheEndOut) {
    const std::vector<engine::TokenId> tokens = {1, 2, 3, 0};
    const std::vector<engine::TokenLogProbs> scores = {
        {-0.5, {{1, -0.5}, {4, -1.5}}}, {-1, {}}, {-2, {{0, -std::numeric_limits<double>::infinity()}}}, {-3, {}}};
    EXPECT_EQ(json::to_string(chat_log_probs(texts(), {tokens, scores, true})),
              R"({"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]},)"
              R"({"token":"b","logprob":-1.5,"bytes":[98]}]},)"
              R"({"token":")" "\xEF\xBF\xBD" R"(","logprob":-1,"bytes":[195],"top_logprobs":[]},)"
              R"({"token":")" "\xEF\xBF\xBD" R"(","logprob":-2,"bytes":[169],"top_logprobs":[{"token":"","logprob":-9999,"bytes":[]}]}],)"
              R"("refusal":null})");
}

TEST(LogProbs, LegacyShapeCountsCodePoints) {
    const std::vector<engine::TokenId> tokens = {1, 2, 4};
    const std::vector<engine::TokenLogProbs> scores = {{-1, {{2, -1}, {3, -2}}}, {-2, {}}, {-3, {}}};
    std::int64_t offset = 5;
    const json::Value out = text_log_probs(texts(), {tokens, scores, false}, offset);
    EXPECT_EQ(json::to_string(*out.find("text_offset")), "[5,7,8]");
    EXPECT_EQ(out.find("tokens")->as_array()[0].as_string(), " a");
    EXPECT_EQ(out.find("top_logprobs")->as_array()[0].as_object().size(), 1U) << "two rivals with one text";
    EXPECT_EQ(offset, 9);
}

TEST(TokenTexts, DecodesAsATokenizerDoes) {
    const std::vector<engine::TokenId> ids = {0, 1, 2, 3, 4};
    EXPECT_EQ(texts().decode(ids, true), "a\xC3\xA9" "b");
    EXPECT_EQ(texts().decode(ids, false), " a\xC3\xA9" "b");
    EXPECT_EQ(texts().bytes(-1), "");
    EXPECT_EQ(texts().bytes(5), "");
}

}  // namespace
}  // namespace ostal::api
