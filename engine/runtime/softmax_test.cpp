#include "engine/runtime/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace ostal::engine {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Softmax, WeightsAreExponentialsAndTheirSumIsTheirs) {
    // Every length around the lanes, and every distance from the maximum.
    for (std::size_t count : {1U, 2U, 7U, 8U, 9U, 16U, 50'001U}) {
        std::vector<float> logits(count);
        std::vector<float> weights(count);
        for (std::size_t i = 0; i < count; ++i) {
            logits[i] = 5.0F - 90.0F * static_cast<float>(i) / static_cast<float>(count);
        }
        const double total = softmax_weights(logits, 5.0F, 1.0F, weights);
        double sum = 0.0;
        for (std::size_t i = 0; i < count; ++i) {
            const double exact = std::exp(static_cast<double>(logits[i]) - 5.0);
            if (logits[i] - 5.0F > -87.0F) {
                ASSERT_NEAR(static_cast<double>(weights[i]) / exact, 1.0, 1e-6) << logits[i];
            } else {
                ASSERT_EQ(weights[i], 0.0F);
            }
            sum += static_cast<double>(weights[i]);
        }
        EXPECT_NEAR(total / sum, 1.0, 1e-12);
        EXPECT_EQ(weights[0], 1.0F);
    }
}

TEST(Softmax, InfinitiesAndHugeScalesGiveZeroNotNan) {
    const std::vector<float> logits = {-kInf, -3e38F, 3e38F, 0.0F};
    std::vector<float> weights(4);
    EXPECT_EQ(softmax_weights(logits, 3e38F, 1e30F, weights), 1.0);
    EXPECT_EQ(weights, (std::vector<float>{0.0F, 0.0F, 1.0F, 0.0F}));
}

TEST(Softmax, TheHighestIsTheFirstOfTheHighest) {
    SeededRandom random(2);
    for (int round = 0; round < 2000; ++round) {
        std::vector<float> logits(1 + random.below(40));
        for (float& logit : logits) {
            logit = random.below(10) == 0 ? -kInf : static_cast<float>(random.below(6)) - 3.0F;
        }
        std::optional<std::int32_t> expected;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            if (logits[i] > -kInf && (!expected || logits[i] > logits[static_cast<std::size_t>(*expected)])) {
                expected = static_cast<std::int32_t>(i);
            }
        }
        ASSERT_EQ(highest_logit(logits), expected);
        // A broken one is found wherever it is.
        logits[random.below(logits.size())] = random.below(2) == 0 ? kInf : std::nanf("");
        ASSERT_EQ(highest_logit(logits), std::nullopt);
    }
}

}  // namespace
}  // namespace ostal::engine
