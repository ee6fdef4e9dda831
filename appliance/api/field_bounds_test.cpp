// Each number of each endpoint at its bounds, just beyond them, and as what it is not: hostile values are a typed
// refusal that names the field, never a crash and never another number.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "appliance/api/chat_request.h"
#include "appliance/api/completion_request.h"
#include "appliance/api/embedding_request.h"

namespace ostal::api {
namespace {

struct Endpoint {
    const char* name;
    std::string body;  // complete but for the closing brace
    std::function<std::optional<FieldError>(const std::string&)> parse;
};

template <typename Request>
std::optional<FieldError> refusal(const Step<Request>& step) {
    return step ? std::nullopt : std::optional<FieldError>(step.error());
}

const std::vector<Endpoint>& endpoints() {
    static const std::vector<Endpoint> kEndpoints = {
        {"chat", R"({"messages":[{"role":"user","content":"x"}])",
         [](const std::string& body) { return refusal(parse_chat_completion(body, false)); }},
        {"scored chat", R"({"logprobs":true,"messages":[{"role":"user","content":"x"}])",
         [](const std::string& body) { return refusal(parse_chat_completion(body, false)); }},
        {"completions", R"({"prompt":"x")", [](const std::string& body) { return refusal(parse_completion(body, false)); }},
        {"fim", R"({"prompt":"x")", [](const std::string& body) { return refusal(parse_fim(body, false)); }},
        {"embeddings", R"({"input":"x")", [](const std::string& body) { return refusal(parse_embedding(body, false)); }},
    };
    return kEndpoints;
}

struct Number {
    const char* field;
    std::vector<const char*> fine;
    std::vector<const char*> refused;  // beside kNeverFine
    std::vector<const char*> endpoints;
    std::vector<const char*> also_fine = {};  // of kNeverFine
};
// Of no integer and no bounded number: too large in each way, too small, and of other types.
constexpr const char* kNeverFine[] = {"2147483648", "4294967296",  "9223372036854775807", "18446744073709551615",
                                      "-2147483649", "-9223372036854775808", "1e308", "-1e308", "\"1\"", "true", "[]", "{}"};
const std::vector<const char*> kText = {"chat", "completions", "fim"};
const std::vector<Number> kNumbers = {
    {"temperature", {"0", "2", "0.5", "-0", "-0.0", "1e-300"}, {"-0.001", "2.001"}, kText},
    {"top_p", {"1", "0.001"}, {"0", "-0.0", "1.001"}, kText},
    {"top_k", {"0", "1000000"}, {"-1", "1000001", "0.5", "1.0"}, kText},
    {"min_p", {"0", "1"}, {"-0.001", "1.001"}, kText},
    {"presence_penalty", {"-2", "2"}, {"-2.001", "2.001"}, kText},
    {"frequency_penalty", {"-2", "2"}, {"-2.001", "2.001"}, kText},
    {"max_tokens", {"1", "2147483647"}, {"0", "-1", "1.0"}, kText},
    {"max_completion_tokens", {"1", "2147483647"}, {"0", "-1", "1.0"}, kText},
    {"min_tokens", {"0", "2147483647"}, {"-1", "1.0"}, kText},
    {"n", {"1", "16"}, {"0", "17", "-1", "1.0"}, kText},
    // Every integer of 64 bits is a seed.
    {"seed", {"0", "-1"}, {"1.0"}, kText,
     {"2147483648", "4294967296", "9223372036854775807", "18446744073709551615", "-2147483649", "-9223372036854775808"}},
    {"random_seed", {"0", "-1"}, {"1.0"}, kText,
     {"2147483648", "4294967296", "9223372036854775807", "18446744073709551615", "-2147483649", "-9223372036854775808"}},
    {"logprobs", {"0", "5"}, {"-1", "6", "1.0"}, {"completions"}},
    {"top_logprobs", {"0", "20"}, {"-1", "21", "1.0"}, {"scored chat"}},
    {"best_of", {"1"}, {"0", "2", "21"}, {"completions"}},
    {"output_dimension", {"1", "1048576"}, {"0", "1048577", "1.0"}, {"embeddings"}},
    {"dimensions", {"1", "1048576"}, {"0", "1048577", "1.0"}, {"embeddings"}},
};

TEST(FieldBounds, EachNumberOfEachEndpoint) {
    int cases = 0;
    const auto contains = [](const std::vector<const char*>& words, std::string_view word) {
        return std::any_of(words.begin(), words.end(), [&](const char* w) { return word == w; });
    };
    for (const Endpoint& endpoint : endpoints()) {
        for (const Number& number : kNumbers) {
            if (!contains(number.endpoints, endpoint.name)) continue;
            const auto parse = [&](const char* value) {
                ++cases;
                return endpoint.parse(endpoint.body + ",\"" + number.field + "\":" + value + "}");
            };
            for (const char* value : number.fine) {
                const auto error = parse(value);
                EXPECT_FALSE(error) << endpoint.name << " " << number.field << " " << value << ": " << error->error.message();
            }
            EXPECT_FALSE(parse("null")) << endpoint.name << " " << number.field << ": null is as absent";
            std::vector<const char*> refused = number.refused;
            for (const char* value : kNeverFine) {
                if (!contains(number.also_fine, value)) refused.push_back(value);
            }
            for (const char* value : number.also_fine) EXPECT_FALSE(parse(value)) << number.field << " " << value;
            for (const char* value : refused) {
                const auto error = parse(value);
                ASSERT_TRUE(error) << endpoint.name << " " << number.field << " " << value;
                EXPECT_EQ(error->param, number.field) << value;
                EXPECT_TRUE(error->error.code() == Code::kUnprocessable || error->error.code() == Code::kUnsupported);
            }
            // No JSON number of ours: the body is refused as a whole.
            for (const char* value : {"18446744073709551616", "1234567890123456789012345678901234567890", "1e999", "-1e999",
                                      "NaN", "Infinity", "01", "+1", ".5", "1.", "0x10"}) {
                const auto error = parse(value);
                ASSERT_TRUE(error) << endpoint.name << " " << number.field << " " << value;
                EXPECT_EQ(error->error.code(), Code::kInvalidArgument) << number.field << " " << value;
            }
        }
    }
    EXPECT_GT(cases, 1000);
}

TEST(FieldBounds, HostileBodiesAreRefusedAsWhatTheyAre) {
    const std::string long_key(1 << 20, 'k');
    for (const Endpoint& endpoint : endpoints()) {
        for (const std::string& body : {
                 std::string(), std::string("{"), std::string("null"), std::string("[]"), std::string("\"x\""), std::string("1"),
                 std::string(50'000, '['), endpoint.body + ",\"x\":" + std::string(50'000, '[') + std::string(50'000, ']') + "}",
                 endpoint.body + ",\"model\":\"a\",\"model\":\"b\"}",
                 endpoint.body + ",\"user\":\"\\ud800\"}",
                 endpoint.body + ",\"user\":\"\xFF\"}",
                 endpoint.body + ",\"user\":\"\xED\xA0\x80\"}",
                 "\xEF\xBB\xBF" + endpoint.body + "}",
                 endpoint.body + "} x",
                 endpoint.body + std::string(1, '\0') + "}",
                 endpoint.body + ",\"user\":\"" + std::string(1, '\0') + "\"}",
             }) {
            const auto error = endpoint.parse(body);
            ASSERT_TRUE(error) << endpoint.name << " " << body.substr(0, 80);
            EXPECT_EQ(error->error.code(), Code::kInvalidArgument) << endpoint.name << " " << body.substr(0, 80);
        }
        EXPECT_FALSE(endpoint.parse(endpoint.body + ",\"" + long_key + "\":1}")) << "an unknown name, however long";
        EXPECT_EQ(endpoint.parse(endpoint.body + ",\"chat_template_kwargs\":{}}")->error.code(), Code::kUnsupported);
        EXPECT_EQ(endpoint.parse(endpoint.body + ",\"model\":5}")->param, "model");
    }
}

TEST(FieldBounds, UnknownNamesAreNotedShortAndFew) {
    std::string body = R"({"prompt":"x")";
    for (int i = 0; i < 1000; ++i) body += ",\"unknown_" + std::string(200, 'x') + std::to_string(i) + "\":" + std::to_string(i);
    const auto request = parse_completion(body + "}", false);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->unknown_fields.size(), 16U);
    for (const std::string& name : request->unknown_fields) EXPECT_LE(name.size(), 100U);
}

TEST(FieldBounds, ManyMessagesAreReadInOneGo) {
    std::string body = R"({"messages":[)";
    for (int i = 0; i < 100'000; ++i) body += R"({"role":"user","content":"x"},)";
    body.back() = ']';
    const auto request = parse_chat_completion(body + "}", false);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->chat.messages.size(), 100'000U);
}

TEST(FieldBounds, UrlsAreNeverTaken) {
    for (const char* part : {R"({"type":"image_url","image_url":"http://127.0.0.1:1/x"})",
                             R"({"type":"image_url","image_url":{"url":"https://example.org/x"}})",
                             R"({"type":"document_url","document_url":"file:///etc/passwd"})",
                             R"({"type":"input_audio","input_audio":{"data":"x"}})", R"({"type":"file","file":{"file_id":"x"}})"}) {
        const auto request = parse_chat_completion(R"({"messages":[{"role":"user","content":[)" + std::string(part) + "]}]}", false);
        ASSERT_FALSE(request) << part;
        EXPECT_EQ(request.error().error.code(), Code::kUnsupported) << part;
        EXPECT_EQ(request.error().param, "messages.0.content.0.type");
    }
}

}  // namespace
}  // namespace ostal::api
