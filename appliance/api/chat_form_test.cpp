#include "appliance/api/chat_form.h"

#include <gtest/gtest.h>

#include "appliance/api/test_tokenizer.h"

namespace ostal::api {
namespace {

using engine::FinishReason;
using engine::TokenEvent;

// A vocabulary of whole phrases: an answer is what its tokens say.
const std::vector<WordTokenizer::Word> kWords = {
    {"</s>", true},
    {"[TOOL_CALLS]", true},
    {"[CALL_ID]", true},
    {"[ARGS]", true},
    {" Let me look."},
    {R"( [{"name": "weather", "arguments": {"city": "Bern", "days": 2}, "id": "abcDEF123"}])"},
    {R"( [{"name": "weather", "arguments": {"city")"},
    {"weather"},
    {"{\"city\": \"Bern\"}"},
    {"call_foreign"},
    {"not json"},
    {R"( [{"name": "a"}, {"name": "b", "arguments": {}}])"},
    {R"( [{"name": "no such function!", "arguments": {}}])"},
    {R"( [])"},
};
enum : engine::TokenId { kEnd, kCalls, kCallId, kArgs, kText, kList, kCut, kName, kJson, kForeign, kWrong, kTwo, kBadName, kNone };

struct Seen {
    std::string content;
    json::Value calls;
    std::string finish;
};

class ChatFormTest : public testing::Test {
protected:
    ChatFormTest() : tokenizer_(kWords) {
        options_.token_texts = std::make_shared<const TokenTexts>(tokenizer_);
        options_.tools = call_tokens(tokenizer_);
    }

    TokenEvent event(engine::TokenId id) const {
        TokenEvent out;
        out.tokens = {id};
        out.text = std::string(tokenizer_.token_bytes(id));
        if (!began_ && out.text.starts_with(' ')) out.text.erase(0, 1);
        began_ = began_ || !out.text.empty();
        return out;
    }

    std::vector<TokenEvent> events(const std::vector<engine::TokenId>& ids, FinishReason finish) const {
        began_ = false;
        std::vector<TokenEvent> out;
        for (const engine::TokenId id : ids) out.push_back(event(id));
        out.back().finish = finish;
        return out;
    }

    Seen whole(const std::vector<engine::TokenId>& ids, FinishReason finish = FinishReason::kStop) {
        Generated generated;
        for (const TokenEvent& event : events(ids, finish)) generated.add(event);
        const json::Value choice(chat_form(options_, random_)->whole(0, generated));
        const json::Value& message = *choice.find("message");
        return {message.find("content")->as_string(), *message.find("tool_calls"), choice.find("finish_reason")->as_string()};
    }

    // The choices of a stream joined as a client joins them; a call comes in one delta.
    Seen streamed(const std::vector<engine::TokenId>& ids, FinishReason finish = FinishReason::kStop) {
        const auto form = chat_form(options_, random_);
        Seen seen;
        std::vector<json::Object> choices = {*form->opening(0)};
        for (const TokenEvent& event : events(ids, finish)) {
            if (auto piece = form->piece(0, event)) choices.push_back(std::move(*piece));
            if (event.finish) choices.push_back(form->closing(0, event));
        }
        for (const json::Object& choice : choices) {
            const json::Value& delta = *choice.find("delta");
            if (const json::Value* content = delta.find("content")) seen.content += content->as_string();
            if (const json::Value* calls = delta.find("tool_calls")) {
                EXPECT_TRUE(seen.calls.is_null()) << "calls in two deltas";
                seen.calls = *calls;
            }
            if (const json::Value* reason = choice.find("finish_reason"); !reason->is_null()) {
                EXPECT_EQ(seen.finish, "") << "two reasons";
                seen.finish = reason->as_string();
            }
        }
        return seen;
    }

    WordTokenizer tokenizer_;
    SeededRandom random_{7};
    ChatFormOptions options_;
    mutable bool began_ = false;
};

struct Case {
    std::vector<engine::TokenId> ids;
    FinishReason finish;
    const char* content;
    const char* calls;
    const char* reason;
};

TEST_F(ChatFormTest, CallsAndTextInBothModes) {
    const char* const listed = R"([{"index":0,"id":"abcDEF123","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Bern\",\"days\":2}"}}])";
    for (const Case& c : {
             Case{{kText, kEnd}, FinishReason::kStop, "Let me look.", "null", "stop"},
             Case{{kCalls, kList, kEnd}, FinishReason::kStop, "", listed, "tool_calls"},
             Case{{kText, kCalls, kList, kEnd}, FinishReason::kStop, "Let me look.", listed, "tool_calls"},
             Case{{kCalls, kList}, FinishReason::kLength, "", listed, "length"},
             // What is no call is text, and no failure.
             Case{{kCalls, kCut}, FinishReason::kLength, R"([{"name": "weather", "arguments": {"city")", "null", "length"},
             Case{{kText, kCalls, kWrong, kEnd}, FinishReason::kStop, "Let me look.not json", "null", "stop"},
             Case{{kCalls, kBadName, kEnd}, FinishReason::kStop, R"([{"name": "no such function!", "arguments": {}}])", "null", "stop"},
             Case{{kCalls, kNone, kEnd}, FinishReason::kStop, "[]", "null", "stop"},
             Case{{kCalls, kEnd}, FinishReason::kStop, "", "null", "stop"},
             Case{{kCalls, kName, kArgs, kWrong, kEnd}, FinishReason::kStop, "weathernot json", "null", "stop"},
             Case{{kCalls, kArgs, kJson, kEnd}, FinishReason::kStop, "{\"city\": \"Bern\"}", "null", "stop"},
             // Without the control token it is text, whatever it says.
             Case{{kList, kEnd}, FinishReason::kStop, R"([{"name": "weather", "arguments": {"city": "Bern", "days": 2}, "id": "abcDEF123"}])", "null", "stop"},
         }) {
        for (const Seen& seen : {whole(c.ids, c.finish), streamed(c.ids, c.finish)}) {
            EXPECT_EQ(seen.content, c.content);
            EXPECT_EQ(json::to_string(seen.calls), c.calls);
            EXPECT_EQ(seen.finish, c.reason);
        }
    }
}

TEST_F(ChatFormTest, NamedLayoutWithAndWithoutIds) {
    for (const Seen& seen : {whole({kText, kCalls, kName, kArgs, kJson, kCalls, kName, kCallId, kForeign, kArgs, kJson, kEnd}),
                             streamed({kText, kCalls, kName, kArgs, kJson, kCalls, kName, kCallId, kForeign, kArgs, kJson, kEnd})}) {
        EXPECT_EQ(seen.content, "Let me look.");
        ASSERT_EQ(seen.calls.as_array().size(), 2U);
        for (const json::Value& call : seen.calls.as_array()) {
            EXPECT_EQ(call.find("function")->find("arguments")->as_string(), "{\"city\": \"Bern\"}");
            const std::string& id = call.find("id")->as_string();
            EXPECT_EQ(id.size(), 9U);
            EXPECT_EQ(id.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"), std::string::npos);
        }
        EXPECT_EQ(seen.calls.as_array()[1].find("index")->to_int64().value(), 1);
        EXPECT_EQ(seen.calls.as_array()[1].find("id")->as_string(), engine::map_tool_call_id("call_foreign"));
    }
}

TEST_F(ChatFormTest, OneCallWhereParallelOnesAreNotWanted) {
    EXPECT_EQ(whole({kCalls, kTwo, kEnd}).calls.as_array().size(), 2U);
    options_.parallel_calls = false;
    EXPECT_EQ(whole({kCalls, kTwo, kEnd}).calls.as_array().size(), 1U);
    EXPECT_EQ(streamed({kCalls, kTwo, kEnd}).calls.as_array().size(), 1U);
}

TEST_F(ChatFormTest, WithoutToolsACallIsText) {
    options_.tools.reset();
    for (const Seen& seen : {whole({kCalls, kName, kEnd}), streamed({kCalls, kName, kEnd})}) {
        EXPECT_EQ(seen.content, "weather");
        EXPECT_TRUE(seen.calls.is_null());
        EXPECT_EQ(seen.finish, "stop");
    }
}

TEST_F(ChatFormTest, StreamedScoresAreThoseOfTheWhole) {
    options_.log_probs = true;
    Generated generated;
    const auto form = chat_form(options_, random_);
    json::Array joined;
    auto all = events({kText, kCalls, kName, kEnd}, FinishReason::kStop);
    for (TokenEvent& event : all) {
        event.log_probs = {{-1.5, {{kText, -1.5}, {kName, -2.0}}}};
        generated.add(event);
        const auto piece = form->piece(0, event);
        ASSERT_TRUE(piece);
        for (const json::Value& entry : piece->find("logprobs")->find("content")->as_array()) joined.push_back(entry);
    }
    const json::Object whole = chat_form(options_, random_)->whole(0, generated);
    EXPECT_EQ(json::Value(joined), *whole.find("logprobs")->find("content"));
    EXPECT_EQ(joined.size(), 2U);
}

}  // namespace
}  // namespace ostal::api
