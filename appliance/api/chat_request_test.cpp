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
