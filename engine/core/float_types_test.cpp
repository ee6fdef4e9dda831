#include "engine/core/float_types.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace ostal::engine {
namespace {

// Both formats' values are also values of double, so the nearest one is found without our own rounding.
double exact_f16(std::uint16_t bits) {
    const int exponent = (bits >> 10) & 31;
    const int fraction = bits & 1023;
    const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
    if (exponent == 0) return sign * std::ldexp(fraction, -24);
    if (exponent == 31) {
        return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                             : sign * std::numeric_limits<double>::infinity();
    }
    return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(FloatTypes, EveryF16ReadsExactlyAndComesBack) {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = f32_from_f16(half);
        const double expected = exact_f16(half);
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(value)) << bits;
            EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(value)))) << bits;
            continue;
        }
        ASSERT_EQ(static_cast<double>(value), expected) << bits;
        ASSERT_EQ(f16_from_f32(value), half) << bits;
    }
}

TEST(FloatTypes, F16RoundsToNearestEven) {
    // Between every two neighbours: the middle goes to the even one, a little beside it to the nearer one.
    for (std::uint32_t bits = 0; bits < 0x7BFF; ++bits) {
        const float low = f32_from_f16(static_cast<std::uint16_t>(bits));
        const float high = f32_from_f16(static_cast<std::uint16_t>(bits + 1));
        const float middle = low + (high - low) / 2;  // exact: f32 has 13 bits more
        const std::uint32_t even = (bits & 1U) == 0 ? bits : bits + 1;
        ASSERT_EQ(f16_from_f32(middle), even) << bits;
        ASSERT_EQ(f16_from_f32(std::nextafter(middle, low)), bits);
        ASSERT_EQ(f16_from_f32(std::nextafter(middle, high)), bits + 1);
        ASSERT_EQ(f16_from_f32(-middle), even | 0x8000U);
    }
    EXPECT_EQ(f16_from_f32(65504.0F), 0x7BFF);
    EXPECT_EQ(f16_from_f32(std::nextafter(65520.0F, 0.0F)), 0x7BFF);
    EXPECT_EQ(f16_from_f32(65520.0F), 0x7C00);
    EXPECT_EQ(f16_from_f32(std::numeric_limits<float>::max()), 0x7C00);
    EXPECT_EQ(f16_from_f32(std::numeric_limits<float>::denorm_min()), 0x0000);
}

TEST(FloatTypes, BF16RoundsToNearestEvenAndKeepsNaN) {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = f32_from_bf16(half);
        if (std::isnan(value)) {
            EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(value))));
        } else {
            ASSERT_EQ(bf16_from_f32(value), half);
        }
    }
    for (std::uint32_t bits = 0; bits < 0x7F7F; ++bits) {
        const std::uint32_t middle = (bits << 16) | 0x8000U;
        ASSERT_EQ(bf16_from_f32(std::bit_cast<float>(middle)), (bits & 1U) == 0 ? bits : bits + 1);
        ASSERT_EQ(bf16_from_f32(std::bit_cast<float>(middle - 1)), bits);
        ASSERT_EQ(bf16_from_f32(std::bit_cast<float>(middle + 1)), bits + 1);
    }
    // A NaN whose payload lies in the lower half alone must not become an infinity.
    EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(std::bit_cast<float>(0x7F800001U)))));
    EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::infinity()), 0x7F80);
}

}  // namespace
}  // namespace ostal::engine
