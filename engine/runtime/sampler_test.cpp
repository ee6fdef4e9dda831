#include "engine/runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/random.h"
#include "engine/runtime/philox.h"
#include "tests/support/allocation_count.h"

namespace ostal::engine {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TokenId draw(const std::vector<float>& logits, const SamplingParams& params, std::int64_t position) {
    Sampler sampler(static_cast<std::int32_t>(logits.size()));
    const auto token = sampler.sample(logits, params, {}, {params.seed, 0, position});
    EXPECT_TRUE(token.has_value());
    return token.value_or(-1);
}

// Probabilities by the definition in sampler.h, written the slow way.
std::vector<double> expected_distribution(const std::vector<float>& logits, const SamplingParams& params) {
    std::vector<std::size_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < order.size()) {
        order.resize(static_cast<std::size_t>(params.top_k));
    }
    const auto weight = [&](std::size_t id) {
        return std::exp(static_cast<double>(logits[id]) / params.temperature);
    };
    double total = 0.0;
    for (const std::size_t id : order) total += weight(id);
    double kept = 0.0;
    std::vector<double> out(logits.size(), 0.0);
    for (const std::size_t id : order) {
        if (params.top_p < 1.0 && kept >= params.top_p * total) break;
        out[id] = weight(id);
        kept += weight(id);
    }
    for (double& p : out) p /= kept;
    return out;
}

// Pearson's statistic of `draws` draws against the expected distribution, and its degrees of freedom.
void expect_distribution(const std::vector<float>& logits, SamplingParams params, int draws) {
    const auto expected = expected_distribution(logits, params);
    Sampler sampler(static_cast<std::int32_t>(logits.size()));
    std::vector<int> seen(logits.size(), 0);
    for (int i = 0; i < draws; ++i) {
        const auto token = sampler.sample(logits, params, {}, {params.seed, 0, i});
        ASSERT_TRUE(token.has_value());
        ++seen[static_cast<std::size_t>(*token)];
    }
    double statistic = 0.0;
    int cells = 0;
    for (std::size_t id = 0; id < expected.size(); ++id) {
        if (expected[id] == 0.0) {
            EXPECT_EQ(seen[id], 0) << "token " << id << " was cut";
            continue;
        }
        const double mean = expected[id] * draws;
        ASSERT_GT(mean, 5.0);
        statistic += (seen[id] - mean) * (seen[id] - mean) / mean;
        ++cells;
    }
    if (cells == 1) return;
    // The 99.9 % quantile by Wilson and Hilferty (1931); the seed is fixed, so a pass stays a pass.
    const double freedom = cells - 1;
    const double root = 1.0 - 2.0 / (9.0 * freedom) + 3.09 * std::sqrt(2.0 / (9.0 * freedom));
    EXPECT_LT(statistic, freedom * root * root * root) << cells << " cells";
}

std::vector<float> random_logits(std::size_t count, std::uint64_t seed, double spread) {
    SeededRandom random(seed);
    std::vector<float> out(count);
    for (float& logit : out) {
        logit = static_cast<float>((static_cast<double>(random.below(1'000'000)) / 1e6 - 0.5) * spread);
    }
    return out;
}

// Known answers published with the paper's reference library (Random123, file kat_vectors).
TEST(Philox, KnownAnswers) {
    EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
              (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
    EXPECT_EQ(draw({1.0F, 3.0F, 2.0F, 3.0F}, {}, 0), 1);
    EXPECT_EQ(draw({-kInf, -5.0F, -kInf}, {}, 0), 1);
    EXPECT_EQ(draw({0.0F, -0.0F}, {}, 0), 0);
}

TEST(Sampler, DistributionOfTemperatureTopKAndTopP) {
    const std::vector<float> skewed = {2.0F, 1.0F, 0.0F, 3.0F, -1.0F, 2.5F, 1.5F, 0.5F};
    for (const double temperature : {0.5, 1.0, 2.0}) {
        for (const double top_p : {1.0, 0.9, 0.5, 0.1}) {
            for (const std::int32_t top_k : {0, 1, 3, 8, 100}) {
                SamplingParams params;
                params.temperature = temperature;
                params.top_p = top_p;
                params.top_k = top_k;
                params.seed = 77;
                SCOPED_TRACE(testing::Message() << "t " << temperature << " p " << top_p << " k " << top_k);
                expect_distribution(skewed, params, 40'000);
            }
        }
    }
}

TEST(Sampler, DistributionOverMoreTokensThanOneSortedPrefix) {
    SamplingParams params;
    params.temperature = 1.0;
    params.seed = 5;
    const auto logits = random_logits(700, 3, 2.0);
    expect_distribution(logits, params, 20'000);
    params.top_p = 0.95;  // several hundred tokens: the second and third prefix of the nucleus search
    expect_distribution(logits, params, 20'000);
    params.top_k = 200;
    expect_distribution(logits, params, 20'000);
}

TEST(Sampler, EdgesOfTopP) {
    const auto logits = random_logits(500, 9, 8.0);
    const auto best = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    SamplingParams params;
    params.temperature = 1.5;
    params.top_p = 1e-12;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(draw(logits, params, i), best);
    // Equal logits: the nucleus takes them by rising id.
    params.top_p = 0.5;
    std::map<TokenId, int> seen;
    for (int i = 0; i < 400; ++i) ++seen[draw({1.0F, 1.0F, 1.0F, 1.0F}, params, i)];
    EXPECT_EQ(seen.size(), 2U);
    EXPECT_TRUE(seen.contains(0) && seen.contains(1));
    // 1.0 cuts nothing.
    params.top_p = 1.0;
    seen.clear();
    for (int i = 0; i < 400; ++i) ++seen[draw({1.0F, 1.0F, 1.0F, 1.0F}, params, i)];
    EXPECT_EQ(seen.size(), 4U);
    params.top_p = std::nextafter(1.0, 0.0);
    for (int i = 0; i < 100; ++i) draw(logits, params, i);
}

TEST(Sampler, ForbiddenTokensAreNeverDrawn) {
    SamplingParams params;
    params.temperature = 100.0;
    for (const double top_p : {1.0, 0.7}) {
        params.top_p = top_p;
        for (int i = 0; i < 200; ++i) {
            const TokenId token = draw({-kInf, 1.0F, -kInf, 2.0F, -kInf}, params, i);
            EXPECT_TRUE(token == 1 || token == 3);
        }
    }
}

TEST(Sampler, TinyTemperatureIsGreedyWithoutOverflow) {
    SamplingParams params;
    params.temperature = 1e-300;
    EXPECT_EQ(draw({-3e38F, 3e38F, 1.0F}, params, 0), 1);
}

TEST(Sampler, BrokenLogitsAreAnErrorNotACrash) {
    Sampler sampler(3);
    SamplingParams sampled;
    sampled.temperature = 1.0;
    sampled.top_p = 0.9;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const auto& logits : std::vector<std::vector<float>>{
             {nan, 1.0F, 2.0F}, {1.0F, 2.0F, nan}, {kInf, 0.0F, 0.0F}, {-kInf, -kInf, -kInf}}) {
        for (const SamplingParams& params : {SamplingParams{}, sampled}) {
            const auto token = sampler.sample(logits, params, {}, {});
            ASSERT_FALSE(token.has_value());
            EXPECT_EQ(token.error().code(), Code::kInternal);
        }
        EXPECT_FALSE(sampler.log_probs(logits, 0, {}).has_value());
    }
    EXPECT_EQ(*sampler.sample(std::vector<float>{0.0F, 1.0F, 0.5F}, {}, {}, {}), 1);
}

TEST(Sampler, ADrawDependsOnSeedChoiceAndPositionAlone) {
    const auto logits = random_logits(300, 21, 4.0);
    SamplingParams params;
    params.temperature = 1.0;
    params.top_p = 0.95;
    Sampler one(300);
    Sampler other(300);
    std::vector<TokenId> forward;
    for (std::int64_t position = 0; position < 200; ++position) {
        forward.push_back(*one.sample(logits, params, {}, {42, 0, position}));
    }
    for (std::int64_t position = 199; position >= 0; --position) {
        (void)other.sample(random_logits(300, static_cast<std::uint64_t>(position), 2.0), params, {},
                           {1, 0, 0});
        EXPECT_EQ(*other.sample(logits, params, {}, {42, 0, position}),
                  forward[static_cast<std::size_t>(position)]);
    }
    const auto differs = [&](DrawKey base) {
        int count = 0;
        for (std::int64_t position = 0; position < 200; ++position) {
            base.position = position;
            count +=
                *one.sample(logits, params, {}, base) != forward[static_cast<std::size_t>(position)] ? 1 : 0;
        }
        return count;
    };
    EXPECT_GT(differs({43, 0, 0}), 150);
    EXPECT_GT(differs({42, 1, 0}), 150);
    EXPECT_GT(differs({42 + (1ULL << 40U), 0, 0}), 150);
}

TEST(Sampler, LogProbabilitiesAreThoseOfTheModel) {
    const std::vector<float> logits = {0.0F, 2.0F, 1.0F, 2.0F, -kInf};
    Sampler sampler(5);
    std::vector<TokenLogProb> top(3);
    const double total = std::log(1.0 + 2.0 * std::exp(2.0) + std::exp(1.0));
    const auto chosen = sampler.log_probs(logits, 2, top);
    ASSERT_TRUE(chosen.has_value());
    EXPECT_NEAR(*chosen, 1.0 - total, 1e-6);
    EXPECT_EQ(top[0].id, 1);
    EXPECT_EQ(top[1].id, 3);
    EXPECT_EQ(top[2].id, 2);
    EXPECT_NEAR(top[0].log_prob, 2.0 - total, 1e-6);
    EXPECT_NEAR(top[2].log_prob, 1.0 - total, 1e-6);
    EXPECT_EQ(*sampler.log_probs(logits, 4, {}), -std::numeric_limits<double>::infinity());
}

TEST(Sampler, AllocatesNothingAfterConstruction) {
    const auto logits = random_logits(32'768, 4, 12.0);
    Sampler sampler(32'768);
    std::vector<TokenLogProb> top(20);
    SamplingParams params;
    const std::uint64_t before = testing_support::allocations_on_this_thread();
    for (std::int64_t position = 0; position < 20; ++position) {
        params.temperature = position % 2 == 0 ? 0.0 : 0.9;
        params.top_p = position % 4 < 2 ? 1.0 : 0.9;
        params.top_k = position % 8 < 4 ? 0 : 50;
        ASSERT_TRUE(sampler.sample(logits, params, {}, {7, 0, position}).has_value());
        ASSERT_TRUE(sampler.log_probs(logits, 3, top).has_value());
    }
    EXPECT_EQ(testing_support::allocations_on_this_thread(), before);
}

}  // namespace
}  // namespace ostal::engine
