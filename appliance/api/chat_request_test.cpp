#include "appliance/api/chat_request.h"

#include <gtest/gtest.h>

namespace ostal::api {
namespace {

Step<ChatCompletionRequest> parse(const std::string& fields, bool strict = false) {
    return parse_chat_completion(R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + fields + "}", strict);
}

TEST(ChatRequest, ReadsBothDialects) {
    const auto request = parse(R"(,"max_completion_tokens":5,"random_seed":-1,"stop":"x","stream":true,"temperature":0,)"
                               R"("top_p":0.5,"stream_options":{"include_usage":true},"seed":null,"user":"u")");
    ASSERT_TRUE(request) << request.error().error.message();
    EXPECT_EQ(request->max_tokens, 5);
    EXPECT_EQ(request->seed, UINT64_MAX);
    EXPECT_EQ(request->stop, std::vector<std::string>{"x"});
    EXPECT_TRUE(request->stream);
    EXPECT_EQ(request->temperature, 0.0);
    EXPECT_EQ(request->include_usage, true);
    EXPECT_TRUE(request->unknown_fields.empty());
}

struct Bad {
    const char* field;
    const char* value;
    Code code;
};

TEST(ChatRequest, EachFieldAtAndBeyondItsBounds) {
    for (const Bad& bad : {Bad{"temperature", "-0.1", Code::kUnprocessable}, Bad{"temperature", "2.1", Code::kUnprocessable},
                           Bad{"temperature", "1e308", Code::kUnprocessable}, Bad{"temperature", "\"1\"", Code::kUnprocessable},
                           Bad{"temperature", "true", Code::kUnprocessable}, Bad{"top_p", "0", Code::kUnprocessable},
                           Bad{"top_p", "1.01", Code::kUnprocessable}, Bad{"top_k", "-1", Code::kUnprocessable},
                           Bad{"top_k", "1.5", Code::kUnprocessable}, Bad{"max_tokens", "0", Code::kUnprocessable},
                           Bad{"max_tokens", "-5", Code::kUnprocessable}, Bad{"max_tokens", "2147483648", Code::kUnprocessable},
                           Bad{"max_tokens", "9223372036854775808", Code::kUnprocessable}, Bad{"seed", "1.5", Code::kUnprocessable},
                           Bad{"stop", "[1]", Code::kUnprocessable}, Bad{"stop", "\"\"", Code::kUnprocessable},
                           Bad{"stop", "{}", Code::kUnprocessable}, Bad{"stream", "1", Code::kUnprocessable},
                           Bad{"stream_options", "[]", Code::kUnprocessable}, Bad{"n", "17", Code::kUnprocessable},
                           Bad{"n", "0", Code::kUnprocessable}, Bad{"top_logprobs", "1", Code::kUnprocessable},
                           Bad{"presence_penalty", "2.1", Code::kUnprocessable}, Bad{"min_p", "1.1", Code::kUnprocessable},
                           Bad{"logit_bias", "{\"01\":2}", Code::kUnprocessable}, Bad{"logit_bias", "{\"a\":2}", Code::kUnprocessable},
                           Bad{"logit_bias", "{\"1\":101}", Code::kUnprocessable}, Bad{"logit_bias", "{\"-1\":1}", Code::kUnprocessable},
                           Bad{"logit_bias", "{\"\":1}", Code::kUnprocessable}, Bad{"logit_bias", "[]", Code::kUnprocessable},
                           Bad{"tool_choice", "\"required\"", Code::kUnsupported}, Bad{"tool_choice", "\"x\"", Code::kUnprocessable},
                           Bad{"response_format", "{\"type\":\"json_object\"}", Code::kUnsupported},
                           Bad{"chat_template_kwargs", "{}", Code::kUnsupported}}) {
        const auto request = parse(std::string(",\"") + bad.field + "\":" + bad.value);
        ASSERT_FALSE(request) << bad.field << " " << bad.value;
        EXPECT_EQ(request.error().error.code(), bad.code) << bad.field << " " << bad.value;
        EXPECT_EQ(request.error().param, bad.field);
    }
}

// Calls "a" and "b" in one message, then results with the given ids.
Step<ChatCompletionRequest> parse_results(const std::vector<std::string>& ids, const std::string& more = "") {
    std::string messages = R"({"role":"user","content":"x"},{"role":"assistant","tool_calls":[)"
                           R"({"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},)"
                           R"({"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]})";
    for (const std::string& id : ids) {
        messages += R"(,{"role":"tool","content":"1")" + (id.empty() ? "" : R"(,"tool_call_id":")" + id + '"') + '}';
    }
    return parse_chat_completion(R"({"model":"m","messages":[)" + messages + more + "]}", false);
}

TEST(ChatRequest, AResultNamesACallOfTheMessageBeforeIt) {
    EXPECT_TRUE(parse_results({"a", "b"}));
    EXPECT_TRUE(parse_results({"b", "a"}));
    EXPECT_TRUE(parse_results({"a", ""}));  // the oldest formats know no ids; the others refuse it when they render
    for (const std::vector<std::string>& ids : {std::vector<std::string>{"a", "c"}, {"a", "B"}, {"b", "aa"}}) {
        const auto request = parse_results(ids);
        ASSERT_FALSE(request) << ids[1];
        EXPECT_EQ(request.error().error.code(), Code::kInvalidArgument);
        EXPECT_EQ(request.error().param, "messages.3.tool_call_id");
    }
    // A call of an earlier message has its result already.
    const auto late = parse_results({"a", "b"}, R"(,{"role":"assistant","content":"y"},)"
                                                R"({"role":"tool","content":"1","tool_call_id":"a"})");
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().param, "messages.5.tool_call_id");
}

TEST(ChatRequest, OffValuesOfUnsupportedFieldsAreFine) {
    EXPECT_TRUE(parse(R"(,"n":1,"logprobs":false,"top_logprobs":0,"presence_penalty":0,"frequency_penalty":0.0,"logit_bias":{},"tools":[],)"
                      R"("response_format":{"type":"text"},"tool_choice":"auto","functions":null)"));
}

TEST(ChatRequest, UnknownFieldsAreNotedOrRefused) {
    EXPECT_EQ(parse(R"(,"future":1)")->unknown_fields, std::vector<std::string>{"future"});
    const auto strict = parse(R"(,"future":1)", true);
    ASSERT_FALSE(strict);
    EXPECT_EQ(strict.error().error.code(), Code::kUnprocessable);
    EXPECT_EQ(strict.error().param, "future");
}

}  // namespace
}  // namespace ostal::api
