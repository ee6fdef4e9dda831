// The sampler against its definition, written a second time the slow way: small vocabularies, all parameters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/random.h"
#include "engine/runtime/philox.h"
#include "engine/runtime/sampler.h"

namespace ostal::engine {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

struct Case {
    std::vector<float> logits;
    SamplingParams params;
    std::vector<TokenId> generated;
    std::vector<TokenId> barred;
};

double between(SeededRandom& random, double low, double high) {
    return low + (high - low) * static_cast<double>(random.below(1'000'001)) / 1e6;
}

// Logits and biases are multiples of 1/8, penalties of 1/4: sums are exact and ties are common.
Case random_case(SeededRandom& random) {
    Case c;
    const auto vocab = 2 + random.below(9);
    for (std::uint64_t i = 0; i < vocab; ++i) {
        c.logits.push_back((static_cast<float>(random.below(97)) - 48.0F) / 8.0F);
    }
    c.params.temperature = random.below(5) == 0 ? 0.0 : between(random, 0.2, 2.0);
    c.params.top_p = random.below(2) == 0 ? 1.0 : between(random, 0.05, 1.0);
    c.params.top_k = random.below(2) == 0 ? 0 : static_cast<std::int32_t>(random.below(vocab + 2));
    c.params.min_p = random.below(2) == 0 ? 0.0 : between(random, 0.0, 1.0);
    if (random.below(2) == 0) {
        c.params.presence_penalty = (static_cast<double>(random.below(17)) - 8.0) / 4.0;
        c.params.frequency_penalty = (static_cast<double>(random.below(17)) - 8.0) / 4.0;
    }
    for (std::size_t id = 0; id < vocab; ++id) {
        if (random.below(6) != 0) continue;
        const double bias = random.below(4) == 0 ? (random.below(2) == 0 ? -100.0 : 100.0)
                                                 : (static_cast<double>(random.below(81)) - 40.0) / 8.0;
        c.params.logit_bias.push_back({static_cast<TokenId>(id), bias});
    }
    for (std::uint64_t i = random.below(12); i > 0; --i) {
        c.generated.push_back(static_cast<TokenId>(random.below(vocab)));
    }
    // At least token 0 stays; ids beyond the vocabulary mean nothing.
    for (std::size_t id = 1; id < vocab + 2; ++id) {
        if (random.below(7) == 0) c.barred.push_back(static_cast<TokenId>(id));
    }
    c.params.seed = random.below(1'000'000);
    return c;
}

// What is drawn for the uniform number u, by the list in sampler.h. Nothing where a border is nearer than
// rounding decides.
std::optional<TokenId> expected_token(const Case& c, double u) {
    const SamplingParams& p = c.params;
    const std::size_t vocab = c.logits.size();
    std::map<TokenId, int> counts;
    for (const TokenId id : c.generated) ++counts[id];
    std::vector<double> logits(c.logits.begin(), c.logits.end());
    for (const LogitBias& bias : p.logit_bias) logits[static_cast<std::size_t>(bias.id)] += bias.bias;
    for (const auto& [id, count] : counts) {
        logits[static_cast<std::size_t>(id)] -= p.presence_penalty + count * p.frequency_penalty;
    }
    for (const TokenId id : c.barred) {
        if (static_cast<std::size_t>(id) < vocab) logits[static_cast<std::size_t>(id)] = kNever;
    }
    std::vector<std::size_t> order(vocab);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
    if (p.temperature == 0.0) return static_cast<TokenId>(order[0]);
    if (p.top_k > 0 && static_cast<std::size_t>(p.top_k) < vocab) {
        order.resize(static_cast<std::size_t>(p.top_k));
    }
    const double best = logits[order[0]];
    const auto weight = [&](std::size_t id) { return std::exp((logits[id] - best) / p.temperature); };
    constexpr double kNear = 1e-5;
    double total = 0.0;
    for (const std::size_t id : order) total += weight(id);
    if (p.top_p < 1.0) {
        double sum = 0.0;
        std::size_t kept = 0;
        while (kept < order.size() && sum < p.top_p * total) {
            sum += weight(order[kept++]);
            if (std::abs(sum - p.top_p * total) < kNear * total) return std::nullopt;
        }
        order.resize(kept);
    }
    for (const std::size_t id : order) {
        // Equal logits have equal weights, 1, however min_p is rounded.
        if (p.min_p > 0.0 && logits[id] != best && std::abs(weight(id) - p.min_p) < kNear) {
            return std::nullopt;
        }
    }
    std::erase_if(order, [&](std::size_t id) { return weight(id) < p.min_p; });
    // The draw takes tokens by rank when a cut has sorted them, and by id otherwise.
    const bool by_rank =
        p.top_p < 1.0 || (p.top_k > 0 && static_cast<std::size_t>(p.top_k) < vocab && p.top_k != 1);
    if (!by_rank) std::sort(order.begin(), order.end());
    total = 0.0;
    for (const std::size_t id : order) total += weight(id);
    double sum = 0.0;
    for (const std::size_t id : order) {
        sum += weight(id);
        if (std::abs(u * total - sum) < kNear * total && id != order.back()) return std::nullopt;
        if (u * total < sum) return static_cast<TokenId>(id);
    }
    return std::nullopt;
}

TEST(SamplerOracle, EveryDrawIsTheDefinitions) {
    SeededRandom random(20);
    int compared = 0;
    constexpr int kCases = 40'000;
    for (int round = 0; round < kCases; ++round) {
        const Case c = random_case(random);
        const DrawKey key{c.params.seed, static_cast<std::uint32_t>(random.below(4)),
                          static_cast<std::int64_t>(random.below(1000))};
        const double u = philox_uniform({static_cast<std::uint32_t>(key.position), 0, key.choice, 0},
                                        {static_cast<std::uint32_t>(key.seed), 0});
        const auto expected = expected_token(c, u);
        if (!expected) continue;
        ++compared;
        Sampler sampler(static_cast<std::int32_t>(c.logits.size()));
        for (int again = 0; again < 2; ++again) {  // nothing of the first draw is left
            const auto token = sampler.sample(c.logits, c.params, {c.generated, c.barred}, key);
            ASSERT_TRUE(token.has_value()) << round;
            ASSERT_EQ(*token, *expected) << "case " << round;
        }
    }
    EXPECT_GT(compared, kCases * 9 / 10);
}

TEST(SamplerOracle, ABiasOfAHundredBansAndForces) {
    SeededRandom random(3);
    for (int round = 0; round < 200; ++round) {
        std::vector<float> logits(50);
        for (float& logit : logits) logit = static_cast<float>(between(random, -20.0, 20.0));
        const auto id = static_cast<TokenId>(random.below(50));
        Sampler sampler(50);
        SamplingParams params;
        params.temperature = round % 2 == 0 ? 0.0 : 1.0;
        params.logit_bias = {{id, 100.0}};
        EXPECT_EQ(*sampler.sample(logits, params, {}, {1, 0, round}), id);
        params.logit_bias = {{id, -100.0}};
        EXPECT_NE(*sampler.sample(logits, params, {}, {1, 0, round}), id);
    }
}

TEST(SamplerOracle, BrokenLogitsStayBrokenUnderABias) {
    Sampler sampler(3);
    SamplingParams params;
    params.logit_bias = {{0, 100.0}};
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FALSE(sampler.sample(std::vector<float>{nan, 1.0F, 2.0F}, params, {}, {}).has_value());
    const std::vector<TokenId> all = {0, 1, 2};
    EXPECT_FALSE(sampler.sample(std::vector<float>{0.0F, 1.0F, 2.0F}, {}, {{}, all}, {}).has_value());
}

TEST(SamplerOracle, LogProbabilitiesOfRandomRows) {
    SeededRandom random(9);
    for (int round = 0; round < 500; ++round) {
        const Case c = random_case(random);
        const std::size_t vocab = c.logits.size();
        long double total = 0.0L;
        for (const float logit : c.logits) total += std::exp(static_cast<long double>(logit));
        std::vector<std::size_t> order(vocab);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return c.logits[a] > c.logits[b]; });
        const auto log_prob = [&](std::size_t id) {
            return static_cast<double>(static_cast<long double>(c.logits[id]) - std::log(total));
        };
        Sampler sampler(static_cast<std::int32_t>(vocab));
        std::vector<TokenLogProb> top(random.below(vocab + 1));
        const auto chosen = random.below(vocab);
        const auto found = sampler.log_probs(c.logits, static_cast<TokenId>(chosen), top);
        ASSERT_TRUE(found.has_value());
        EXPECT_NEAR(*found, log_prob(chosen), 1e-13);
        for (std::size_t i = 0; i < top.size(); ++i) {
            EXPECT_EQ(top[i].id, static_cast<TokenId>(order[i]));
            EXPECT_NEAR(top[i].log_prob, log_prob(order[i]), 1e-13);
        }
    }
}

}  // namespace
}  // namespace ostal::engine
