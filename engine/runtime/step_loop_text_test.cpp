// What comes out of the step loop as text: ends, stop strings, whole characters.
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "engine/runtime/step_loop_fixture.h"

namespace ostal::engine {
namespace {

using test::Answer;

std::vector<TokenId> bytes_of(std::string_view text) {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
}

TEST_F(StepLoopTest, EndsAtEosAtStopTokensAndAtLength) {
    auto script = bytes_of("hello");
    script.push_back(ByteTokenizer::kEos);
    model().scripts[0] = script;
    script.back() = ByteTokenizer::kEndOfTurn;
    script.push_back('x');
    script.push_back('y');
    model().scripts[1] = script;
    start();
    Answer answer = run(make_scripted(1, 0, 50));
    EXPECT_EQ(answer.finish, FinishReason::kStop);
    EXPECT_EQ(answer.text, "hello");
    EXPECT_EQ(answer.usage.completion_tokens, 6);
    EXPECT_EQ(answer.tokens.back(), ByteTokenizer::kEos);
    // The end and the limit at once: it is a stop.
    EXPECT_EQ(run(make_scripted(2, 0, 6)).finish, FinishReason::kStop);
    answer = run(make_scripted(3, 0, 5));
    EXPECT_EQ(answer.finish, FinishReason::kLength);
    EXPECT_EQ(answer.text, "hello");
    GenerationRequest request = make_scripted(4, 1, 50);
    request.stop_tokens = {ByteTokenizer::kEndOfTurn};
    answer = run(request);
    EXPECT_EQ(answer.finish, FinishReason::kStop);
    EXPECT_EQ(answer.text, "hello");
    // Without it the control token is silent.
    EXPECT_EQ(run(make_scripted(5, 1, 8)).text, "helloxy");
}

TEST_F(StepLoopTest, NothingOfAStopStringGetsOut) {
    model().scripts[0] = bytes_of("one STO two STOP three four");
    start();
    GenerationRequest request = make_scripted(1, 0, 27);
    request.stop = {"STOP", "zzz"};
    const Answer answer = run(request);
    EXPECT_EQ(answer.finish, FinishReason::kStop);
    EXPECT_EQ(answer.text, "one STO two ");
    EXPECT_EQ(answer.usage.completion_tokens, 16);  // "STOP" was generated
    EXPECT_EQ(answer.tokens.size(), 16U);
    for (const std::string& piece : answer.pieces) EXPECT_NE(piece, "S");
    // Cut by the length in the middle: what was held back is ordinary text.
    request = make_scripted(2, 0, 7);
    request.stop = {"STOP"};
    EXPECT_EQ(run(request).text, "one STO");
    // The limit falls on the stop string's last byte.
    request = make_scripted(3, 0, 16);
    request.stop = {"STOP"};
    EXPECT_EQ(run(request).finish, FinishReason::kStop);
}

TEST_F(StepLoopTest, CharactersAreNeverCut) {
    const std::string text = "na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x98\x80!";
    model().scripts[0] = bytes_of(text);
    model().scripts[1] = bytes_of("ab\xE2\x82zz");  // a broken character in the middle
    start();
    Answer answer = run(make_scripted(1, 0, static_cast<std::int32_t>(text.size())));
    EXPECT_EQ(answer.text, text);
    for (const std::string& piece : answer.pieces) EXPECT_TRUE(is_valid_utf8(piece));
    // Cut by the length inside of one: the rest of it is replaced, not lost and not sent raw.
    answer = run(make_scripted(2, 0, 9));
    EXPECT_TRUE(is_valid_utf8(answer.text));
    EXPECT_EQ(answer.text.substr(0, 7), "na\xC3\xAFve ");
    EXPECT_GT(answer.text.size(), 7U);
    answer = run(make_scripted(3, 1, 6));
    EXPECT_TRUE(is_valid_utf8(answer.text));
    EXPECT_EQ(answer.text.substr(answer.text.size() - 2), "zz");
}

}  // namespace
}  // namespace ostal::engine
