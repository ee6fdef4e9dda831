// The frequencies of every RoPE scaling against values computed by hand from the papers' formulas. That
// forward() turns by them, against the double-precision oracle: forward_test.cpp.
#include "engine/model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace ostal::engine {
namespace {

constexpr double kPi = std::numbers::pi;

ModelConfig config_of(double theta, std::int32_t head_dim, RopeScaling scaling) {
    ModelConfig config;
    config.rope_theta = theta;
    config.head_dim = head_dim;
    config.rope_scaling = scaling;
    return config;
}

TEST(Rope, PlainLinearDynamicAndDivisors) {
    const auto plain = rope_frequencies(config_of(10000.0, 8, {}), {});
    ASSERT_EQ(plain.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(plain[i], std::pow(10.0, -static_cast<double>(i)));
    const auto linear =
        rope_frequencies(config_of(10000.0, 8, {.kind = RopeKind::kLinear, .factor = 4.0}), {});
    for (std::size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(linear[i], plain[i] / 4.0);
    EXPECT_EQ(rope_frequencies(config_of(10000.0, 8, {.kind = RopeKind::kDynamic, .factor = 4.0}), {}),
              plain);
    const float divisors[] = {1.0F, 2.0F, 4.0F, 8.0F};
    const auto divided = rope_frequencies(config_of(10000.0, 8, {.kind = RopeKind::kDivisors}), divisors);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(divided[i], plain[i] / std::exp2(i));
}

// Llama 3.1: factor 8, low 1, high 4, original context 8192, theta 500000, Dh 128.
TEST(Rope, Llama3) {
    const ModelConfig config = config_of(500000.0, 128,
                                         {.kind = RopeKind::kLlama3,
                                          .factor = 8.0,
                                          .original_context = 8192,
                                          .low_frequency_factor = 1.0,
                                          .high_frequency_factor = 4.0});
    const auto found = rope_frequencies(config, {});
    ASSERT_EQ(found.size(), 64U);
    int kept = 0, divided = 0, mixed = 0;
    for (std::size_t i = 0; i < 64; ++i) {
        const double plain = std::pow(500000.0, -static_cast<double>(i) / 64.0);
        const double wavelength = 2 * kPi / plain;
        if (wavelength < 8192.0 / 4.0) {
            EXPECT_DOUBLE_EQ(found[i], plain) << i;
            ++kept;
        } else if (wavelength > 8192.0) {
            EXPECT_DOUBLE_EQ(found[i], plain / 8.0) << i;
            ++divided;
        } else {
            const double smooth = (8192.0 / wavelength - 1.0) / 3.0;
            EXPECT_NEAR(found[i], plain * ((1.0 - smooth) / 8.0 + smooth), 1e-15) << i;
            ++mixed;
        }
    }
    // The wavelength passes 2048 between i = 28 and 29, and 8192 between 34 and 35.
    EXPECT_EQ(kept, 29);
    EXPECT_EQ(mixed, 6);
    EXPECT_EQ(divided, 29);
}

// Ministral 3: factor 16, original context 16384, theta 1e6, Dh 128.
TEST(Rope, Yarn) {
    RopeScaling scaling{.kind = RopeKind::kYarn, .factor = 16.0, .original_context = 16384};
    const auto found = rope_frequencies(config_of(1e6, 128, scaling), {});
    // 128 ln(16384 / (32 * 2 pi)) / (2 ln 1e6) = 20.38, and with one rotation 36.44: a ramp from 20 to 37.
    for (std::size_t i = 0; i < 64; ++i) {
        const double plain = std::pow(1e6, -static_cast<double>(i) / 64.0);
        const double ramp = i <= 20 ? 0.0 : i >= 37 ? 1.0 : (static_cast<double>(i) - 20.0) / 17.0;
        EXPECT_NEAR(found[i] / plain, 1.0 - ramp + ramp / 16.0, 1e-12) << i;
    }
    scaling.truncate = false;
    const auto exact = rope_frequencies(config_of(1e6, 128, scaling), {});
    const double low = 64.0 * std::log(16384.0 / (64.0 * kPi)) / std::log(1e6);
    const double high = 64.0 * std::log(16384.0 / (2.0 * kPi)) / std::log(1e6);
    for (std::size_t i = 21; i <= 36; ++i) {
        const double plain = std::pow(1e6, -static_cast<double>(i) / 64.0);
        const double ramp = (static_cast<double>(i) - low) / (high - low);
        EXPECT_NEAR(exact[i] / plain, 1.0 - ramp + ramp / 16.0, 1e-12) << i;
    }
    // A step where the ramp has no width: both ends fall below the first frequency.
    scaling = {.kind = RopeKind::kYarn, .factor = 4.0, .original_context = 1};
    for (const double frequency : rope_frequencies(config_of(1e6, 128, scaling), {}))
        EXPECT_TRUE(std::isfinite(frequency));
}

TEST(Rope, AttentionScale) {
    EXPECT_EQ(attention_scale(config_of(1e4, 128, {})), 1.0F / std::sqrt(128.0F));
    const RopeScaling yarn{.kind = RopeKind::kYarn, .factor = 16.0, .attention_factor = 1.25};
    EXPECT_FLOAT_EQ(attention_scale(config_of(1e4, 64, yarn)), 1.5625F / 8.0F);
}

}  // namespace
}  // namespace ostal::engine
