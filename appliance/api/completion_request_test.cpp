#include "appliance/api/completion_request.h"

#include <gtest/gtest.h>

#include "appliance/api/embedding_request.h"
#include "appliance/api/prompt_input.h"
#include "appliance/api/test_tokenizer.h"

namespace ostal::api {
namespace {

using Ids = std::vector<engine::TokenId>;

Step<CompletionRequest> completion(const std::string& fields) { return parse_completion("{" + fields + "}", false); }

TEST(CompletionRequest, TakesEveryFormOfPrompt) {
    EXPECT_EQ(std::get<std::string>(completion(R"("prompt":"a")")->prompts.at(0)), "a");
    EXPECT_EQ(completion(R"("prompt":["a","b"])")->prompts.size(), 2U);
    EXPECT_EQ(std::get<Ids>(completion(R"("prompt":[1,2])")->prompts.at(0)), (Ids{1, 2}));
    const auto lists = completion(R"("prompt":[[1],[2,3]],"n":2,"best_of":2,"logprobs":0,"suffix":"")");
    ASSERT_TRUE(lists) << lists.error().error.message();
    EXPECT_EQ(std::get<Ids>(lists->prompts.at(1)), (Ids{2, 3}));
    EXPECT_EQ(lists->top_log_probs, 0);
    EXPECT_FALSE(lists->suffix);
}

TEST(CompletionRequest, IdsOfAPromptAreOfTheVocabulary) {
    const WordTokenizer tokenizer({{"a"}, {"b"}, {"c"}});
    EXPECT_EQ(tokens_of(Ids{2, 0}, tokenizer).value(), (Ids{2, 0}));
    EXPECT_EQ(tokens_of(Ids{0, 3}, tokenizer).error().code(), Code::kUnprocessable);
    // What the tokenizer says of a text is passed on.
    EXPECT_EQ(tokens_of(std::string("a"), tokenizer).error().code(), Code::kUnsupported);
}

TEST(CompletionRequest, RefusesWithTheFieldNamed) {
    struct Bad {
        const char* fields;
        const char* param;
        Code code;
    };
    std::string many = R"("prompt":["a")";
    for (int i = 0; i < 64; ++i) many += ",\"a\"";
    many += "]";
    for (const Bad& bad : {
             Bad{"", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":null)", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":"")", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[[]])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[1,"a"])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":["a",1])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[-1])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[1.5])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[2147483648])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":[null])", "prompt", Code::kUnprocessable},
             Bad{R"("prompt":{})", "prompt", Code::kUnprocessable},
             Bad{many.c_str(), "prompt", Code::kUnprocessable},
             Bad{R"("prompt":"a","best_of":2)", "best_of", Code::kUnsupported},
             Bad{R"("prompt":"a","logprobs":6)", "logprobs", Code::kUnprocessable},
             Bad{R"("prompt":"a","logprobs":true)", "logprobs", Code::kUnprocessable},
             Bad{R"("prompt":"a","logprobs":1,"echo":true)", "echo", Code::kUnsupported},
             Bad{R"("prompt":"a","suffix":"b","echo":true)", "echo", Code::kUnprocessable},
             Bad{R"("prompt":"a","max_tokens":0)", "max_tokens", Code::kUnprocessable},
             Bad{R"("prompt":"a","max_tokens":1,"min_tokens":2)", "min_tokens", Code::kUnprocessable},
         }) {
        const auto request = completion(bad.fields);
        ASSERT_FALSE(request) << bad.fields;
        EXPECT_EQ(request.error().error.code(), bad.code) << bad.fields;
        EXPECT_EQ(request.error().param, bad.param) << bad.fields;
    }
    std::string sixteen = R"("n":16,"prompt":["a")";
    for (int i = 0; i < 8; ++i) sixteen += ",\"a\"";
    EXPECT_EQ(completion(sixteen + "]").error().param, "n");
}

TEST(FimRequest, TakesAnEmptyPromptAndNoSuffix) {
    EXPECT_TRUE(parse_fim(R"({"prompt":"","min_tokens":1})", false));
    EXPECT_FALSE(parse_fim(R"({"prompt":["a"]})", false));
    EXPECT_FALSE(parse_fim(R"({"suffix":"a"})", false));
}

TEST(EmbeddingRequest, ReadsBothDialects) {
    const auto request = parse_embedding(
        R"({"input":["a"],"output_dimension":3,"dimensions":3,"encoding_format":"base64","output_dtype":"int8"})", false);
    ASSERT_TRUE(request) << request.error().error.message();
    EXPECT_EQ(request->dimensions, 3);
    EXPECT_TRUE(request->base64);
    EXPECT_EQ(request->type, EmbeddingType::kInt8);
    for (const char* bad : {R"({})", R"({"input":"a","dimensions":0})", R"({"input":"a","dimensions":1,"output_dimension":2})",
                            R"({"input":"a","encoding_format":"hex"})", R"({"input":"a","output_dtype":1})",
                            R"({"input":"a","dimensions":2147483648})"}) {
        const auto refused = parse_embedding(bad, false);
        ASSERT_FALSE(refused) << bad;
        EXPECT_EQ(refused.error().error.code(), Code::kUnprocessable) << bad;
    }
}

}  // namespace
}  // namespace ostal::api
