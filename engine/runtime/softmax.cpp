#include "engine/runtime/softmax.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>

#include "base/check.h"

namespace ostal::engine {
namespace {

constexpr std::size_t kLanes = 8;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// exp(x) for x in [-87, 0]: x = n ln 2 + r with |r| <= ln(2)/2, exp(r) by its Taylor series to the seventh
// power (remainder below 6e-9), times 2^n by the exponent bits. ln 2 in two parts, so that n ln 2 is exact
// enough (Cody and Waite, "Software Manual for the Elementary Functions", 1980, chapter 6).
inline float exp_nonpositive(float x) {
    constexpr float kLog2E = 1.44269504F;
    constexpr float kLn2High = 0.693359375F;
    constexpr float kLn2Low = -2.12194440e-4F;
    constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer
    const float n = (x * kLog2E + kRound) - kRound;
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float sum = 1.0F / 5040.0F;
    sum = sum * r + 1.0F / 720.0F;
    sum = sum * r + 1.0F / 120.0F;
    sum = sum * r + 1.0F / 24.0F;
    sum = sum * r + 1.0F / 6.0F;
    sum = sum * r + 0.5F;
    sum = sum * r + 1.0F;
    sum = sum * r + 1.0F;
    const std::int32_t exponent = static_cast<std::int32_t>(n) + 127;
    return sum * std::bit_cast<float>(exponent * (1 << 23));
}

}  // namespace

std::optional<std::int32_t> highest_logit(std::span<const float> logits) {
    float best[kLanes];
    std::int32_t broken[kLanes];
    std::fill(best, best + kLanes, -kInfinity);
    std::fill(broken, broken + kLanes, 0);
    const float* values = logits.data();
    const std::size_t whole = logits.size() / kLanes * kLanes;
    const auto look = [&](float value, std::size_t lane) {
        best[lane] = value > best[lane] ? value : best[lane];
        // False for NaN and +inf alike.
        broken[lane] |= value <= std::numeric_limits<float>::max() ? 0 : 1;
    };
    for (std::size_t i = 0; i < whole; i += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) look(values[i + lane], lane);
    }
    for (std::size_t i = whole; i < logits.size(); ++i) look(values[i], i - whole);
    if (std::find(broken, broken + kLanes, 1) != broken + kLanes) return std::nullopt;
    const float max = *std::max_element(best, best + kLanes);
    if (max == -kInfinity) return std::nullopt;
    return static_cast<std::int32_t>(std::find(logits.begin(), logits.end(), max) - logits.begin());
}

double softmax_weights(std::span<const float> logits, float max, float inverse_temperature,
                       std::span<float> weights) {
    CHECK_EQ(logits.size(), weights.size());
    constexpr float kLeast = -87.0F;
    const float* from = logits.data();
    float* to = weights.data();
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const float x = (from[i] - max) * inverse_temperature;
        const float bounded = x > kLeast ? x : kLeast;
        const float weight = exp_nonpositive(bounded);
        to[i] = x > kLeast ? weight : 0.0F;
    }
    // In lanes of double: one order, whatever the compiler makes of it.
    double sums[kLanes] = {};
    const std::size_t whole = weights.size() / kLanes * kLanes;
    for (std::size_t i = 0; i < whole; i += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += static_cast<double>(to[i + lane]);
    }
    double total = 0.0;
    for (const double sum : sums) total += sum;
    for (std::size_t i = whole; i < weights.size(); ++i) total += static_cast<double>(to[i]);
    return total;
}

}  // namespace ostal::engine
