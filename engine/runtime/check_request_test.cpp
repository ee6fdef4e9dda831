#include "engine/runtime/check_request.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace ostal::engine {
namespace {

constexpr RequestLimits kLimits{100, 90, 64};
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

GenerationRequest good() {
    GenerationRequest request;
    request.prompt = {1, 2, 99};
    request.max_tokens = 10;
    request.sampling.temperature = 2.0;
    request.sampling.min_p = 1.0;
    request.sampling.presence_penalty = -2.0;
    request.sampling.frequency_penalty = 2.0;
    request.sampling.logit_bias = {{89, -100.0}, {0, 100.0}};
    request.stop_tokens = {0, 99};
    request.min_tokens = 10;
    request.top_log_probs = 20;
    return request;
}

GenerationRequest good_embedding() {
    GenerationRequest request;
    request.prompt.assign(64, 5);
    request.embedding = Pooling::kLastToken;
    return request;
}

using Change = std::function<void(GenerationRequest&)>;

void expect_refused(GenerationRequest request, const char* field, const Change& change) {
    change(request);
    const Status status = check_request(request, kLimits);
    ASSERT_FALSE(status.has_value()) << field;
    EXPECT_EQ(status.error().code(), Code::kInvalidArgument);
    EXPECT_TRUE(status.error().message().starts_with(field)) << status.error().message();
}

TEST(CheckRequest, TheBordersAreIn) {
    EXPECT_TRUE(check_request(good(), kLimits).has_value());
    EXPECT_TRUE(check_request(good_embedding(), kLimits).has_value());
    GenerationRequest least = good();
    least.max_tokens = 1;
    least.min_tokens = 0;
    least.top_log_probs = 0;
    least.sampling = {};
    least.sampling.top_p = std::numeric_limits<double>::denorm_min();
    EXPECT_TRUE(check_request(least, kLimits).has_value());
}

TEST(CheckRequest, NumbersOutOfRangeAreRefusedByName) {
    struct Field {
        const char* name;
        double SamplingParams::*value;
        std::vector<double> refused;
    };
    const Field fields[] = {
        {"temperature", &SamplingParams::temperature, {-0.01, kNan, kInf, -kInf}},
        {"top_p", &SamplingParams::top_p, {0.0, -0.5, 1.01, kNan, kInf}},
        {"min_p", &SamplingParams::min_p, {-0.01, 1.01, kNan, kInf, -kInf}},
        {"presence_penalty", &SamplingParams::presence_penalty, {-2.01, 2.01, kNan, kInf, -kInf}},
        {"frequency_penalty", &SamplingParams::frequency_penalty, {-2.01, 2.01, kNan, kInf, -kInf}},
    };
    for (const Field& field : fields) {
        for (const double value : field.refused) {
            SCOPED_TRACE(value);
            expect_refused(good(), field.name, [&](auto& r) { r.sampling.*field.value = value; });
        }
    }
    for (const double bias : {-100.01, 100.01, kNan, kInf, -kInf}) {
        expect_refused(good(), "logit_bias", [&](auto& r) { r.sampling.logit_bias[1].bias = bias; });
    }
}

TEST(CheckRequest, CountsAndIdsOutOfRangeAreRefusedByName) {
    const std::pair<const char*, Change> changes[] = {
        {"prompt", [](auto& r) { r.prompt.clear(); }},
        {"prompt", [](auto& r) { r.prompt[1] = -1; }},
        {"prompt", [](auto& r) { r.prompt[1] = 100; }},
        {"max_tokens", [](auto& r) { r.max_tokens = 0; }},
        {"max_tokens", [](auto& r) { r.max_tokens = -1; }},
        {"min_tokens", [](auto& r) { r.min_tokens = -1; }},
        {"min_tokens", [](auto& r) { r.min_tokens = 11; }},
        {"top_log_probs", [](auto& r) { r.top_log_probs = -1; }},
        {"top_log_probs", [](auto& r) { r.top_log_probs = 21; }},
        {"top_k", [](auto& r) { r.sampling.top_k = -1; }},
        {"deadline_mono_us", [](auto& r) { r.deadline_mono_us = -1; }},
        {"stop_tokens", [](auto& r) { r.stop_tokens[1] = -1; }},
        {"stop_tokens", [](auto& r) { r.stop_tokens[1] = 100; }},
        {"logit_bias", [](auto& r) { r.sampling.logit_bias[0].id = -1; }},
        {"logit_bias", [](auto& r) { r.sampling.logit_bias[0].id = 90; }},  // padding cannot be drawn
        {"logit_bias",
         [](auto& r) {
             r.sampling.logit_bias.push_back({0, 1.0});
         }},
    };
    for (const auto& [field, change] : changes) expect_refused(good(), field, change);
}

TEST(CheckRequest, AnEmbeddingGeneratesNothing) {
    const std::pair<const char*, Change> changes[] = {
        {"max_tokens", [](auto& r) { r.max_tokens = 1; }},
        {"max_tokens", [](auto& r) { r.max_tokens = -1; }},
        {"min_tokens", [](auto& r) { r.min_tokens = 1; }},
        {"stop ", [](auto& r) { r.stop = {"x"}; }},
        {"stop_tokens", [](auto& r) { r.stop_tokens = {1}; }},
        {"continues_text", [](auto& r) { r.continues_text = true; }},
        {"ignore_eos", [](auto& r) { r.ignore_eos = true; }},
        {"top_log_probs", [](auto& r) { r.top_log_probs = 0; }},
        {"temperature", [](auto& r) { r.sampling.temperature = 0.5; }},
        {"temperature", [](auto& r) { r.sampling.temperature = kNan; }},
        {"top_p", [](auto& r) { r.sampling.top_p = 0.5; }},
        {"top_k", [](auto& r) { r.sampling.top_k = 1; }},
        {"min_p", [](auto& r) { r.sampling.min_p = 0.5; }},
        {"presence_penalty", [](auto& r) { r.sampling.presence_penalty = 0.5; }},
        {"frequency_penalty", [](auto& r) { r.sampling.frequency_penalty = 0.5; }},
        {"logit_bias",
         [](auto& r) {
             r.sampling.logit_bias = {{1, 1.0}};
         }},
        {"seed", [](auto& r) { r.sampling.seed = 1; }},
        {"choice", [](auto& r) { r.sampling.choice = 1; }},
        {"prompt", [](auto& r) { r.prompt[63] = 100; }},
    };
    for (const auto& [field, change] : changes) expect_refused(good_embedding(), field, change);
}

TEST(CheckRequest, TheContextBoundsBothKinds) {
    GenerationRequest request = good();
    request.prompt.assign(55, 1);
    EXPECT_EQ(check_request(request, kLimits).error().code(), Code::kContextLengthExceeded);
    request = good_embedding();
    request.prompt.push_back(5);
    EXPECT_EQ(check_request(request, kLimits).error().code(), Code::kContextLengthExceeded);
}

}  // namespace
}  // namespace ostal::engine
