// The int8 and bf16 dot products: the scalar ones against double precision, the vector ones bit for bit
// against the scalar ones, operands at forbidden pages.
#include "engine/backend/cpu/dot_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/backend/cpu/isa.h"
#include "tests/support/guarded.h"
#include "tests/support/random_weight.h"

namespace ostal::engine::cpu {
namespace {

using test::Guarded;
using test::random_floats;
using test::random_rows;

constexpr std::int64_t kBlocks[] = {1, 2, 3, 5, 12, 18, 33, 64};
constexpr std::int64_t kLengths[] = {1,  2,  7,  8,  15,  16,  17,  31,  32,  33,
                                     63, 64, 65, 95, 127, 128, 129, 384, 576, 1000};

struct Activations {
    Guarded<std::int8_t> q;
    Guarded<float> scale;
};
Activations quantised(const Int8Kernels& kernels, const std::vector<float>& values) {
    const Guarded<float> x(values);
    Activations out{Guarded<std::int8_t>(values.size()), Guarded<float>(values.size() / 32)};
    kernels.quantise(x.data(), static_cast<std::int64_t>(values.size()), out.q.data(), out.scale.data());
    return out;
}

TEST(Int8, QuantisesToHalfAStep) {
    SeededRandom random(1);
    for (const float size : {1.0F, 1e-20F, 1e20F}) {
        std::vector<float> values = random_floats(random, 320);
        for (float& v : values) v *= size;
        const Activations a = quantised(kScalarInt8Kernels, values);
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double step = static_cast<double>(a.scale[i / 32]);
            ASSERT_NEAR(a.q[i] * step, static_cast<double>(values[i]), 0.500001 * step) << i;
        }
    }
}

TEST(Int8, BlocksOfNothingAndOfFaults) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> values(96, 0.0F);
        values[3] = 1e-38F;
        values[40] = -bad;
        values[41] = 1.0F;
        values[64] = -2.0F;
        for (const char* name : {"scalar", "avx512vnni"}) {
            const auto kernels = select_int8_kernels(name);
            if (!kernels) continue;  // the test below says so
            const Activations a = quantised(**kernels, values);
            EXPECT_EQ(a.scale[0], 0.0F);
            EXPECT_TRUE(std::isnan(a.scale[1]));
            EXPECT_EQ(a.scale[2], 2.0F / 127.0F);
            for (std::size_t i = 0; i < 96; ++i) EXPECT_EQ(a.q[i], i == 64 ? -127 : 0) << name << i;
            SeededRandom random(2);
            const Bytes row = random_rows(random, DType::kQ8_0, 1, 96);
            EXPECT_TRUE(std::isnan((*kernels)->dot_q8_0(row.data(), a.q.data(), a.scale.data(), 96)));
        }
    }
}

TEST(Int8, ScalarProductsAreRight) {
    SeededRandom random(3);
    for (const DType type : {DType::kQ8_0, DType::kQ4_0}) {
        for (const std::int64_t blocks : kBlocks) {
            const std::int64_t n = 32 * blocks;
            const Guarded<std::uint8_t> row(random_rows(random, type, 1, n));
            const Activations a = quantised(kScalarInt8Kernels, random_floats(random, n));
            const auto dot = type == DType::kQ8_0 ? kScalarInt8Kernels.dot_q8_0 : kScalarInt8Kernels.dot_q4_0;
            const std::vector<double> w = test::row_values(type, {row.data(), row.size()});
            double expected = 0, magnitude = 0;
            for (std::size_t i = 0; i < w.size(); ++i) {
                const double product = w[i] * a.q[i] * static_cast<double>(a.scale[i / 32]);
                expected += product;
                magnitude += std::fabs(product);
            }
            const float got = dot(row.data(), a.q.data(), a.scale.data(), n);
            ASSERT_NEAR(static_cast<double>(got), expected, 1e-6 * magnitude) << dtype_name(type) << n;
        }
    }
}

TEST(Int8, VnniGivesTheScalarBits) {
    const auto vnni = select_int8_kernels("avx512vnni");
    if (!vnni) GTEST_SKIP() << vnni.error().to_string();
    SeededRandom random(4);
    for (int round = 0; round < 20; ++round) {
        for (const DType type : {DType::kQ8_0, DType::kQ4_0}) {
            for (const std::int64_t blocks : kBlocks) {
                const std::int64_t n = 32 * blocks;
                const Guarded<std::uint8_t> row(random_rows(random, type, 1, n));
                const std::vector<float> values = random_floats(random, n);
                const Activations a = quantised(kScalarInt8Kernels, values);
                const Activations b = quantised(**vnni, values);
                ASSERT_EQ(a.q.copy(), b.q.copy());
                ASSERT_EQ(a.scale.copy(), b.scale.copy());
                const bool q8 = type == DType::kQ8_0;
                const auto scalar = q8 ? kScalarInt8Kernels.dot_q8_0 : kScalarInt8Kernels.dot_q4_0;
                const auto vector = q8 ? (*vnni)->dot_q8_0 : (*vnni)->dot_q4_0;
                ASSERT_EQ(std::bit_cast<std::uint32_t>(scalar(row.data(), a.q.data(), a.scale.data(), n)),
                          std::bit_cast<std::uint32_t>(vector(row.data(), b.q.data(), b.scale.data(), n)))
                    << dtype_name(type) << " " << n;
            }
        }
    }
    // The largest integers: nothing saturates.
    std::vector<std::uint8_t> row(68, 0x80);
    store_le<std::uint16_t>(row.data(), 0x3C00);
    store_le<std::uint16_t>(row.data() + 34, 0x3C00);
    const std::vector<std::int8_t> q(64, -127);
    const float ones[] = {1.0F, 1.0F};
    EXPECT_EQ((*vnni)->dot_q8_0(row.data(), q.data(), ones, 64), 64.0F * 128.0F * 127.0F);
}

TEST(Bf16, ScalarProductsAreRight) {
    SeededRandom random(5);
    for (const std::int64_t n : kLengths) {
        const Guarded<std::uint8_t> w(random_rows(random, DType::kBF16, 1, n));
        std::vector<std::uint16_t> x;
        for (const float value : random_floats(random, n)) x.push_back(bf16_from_f32(value));
        double expected = 0, magnitude = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double product =
                static_cast<double>(f32_from_bf16(load_le<std::uint16_t>(w.data() + 2 * i))) *
                static_cast<double>(f32_from_bf16(x[i]));
            expected += product;
            magnitude += std::fabs(product);
        }
        const Guarded<std::uint16_t> guarded(x);
        ASSERT_NEAR(static_cast<double>(kScalarBf16Kernels.dot(w.data(), guarded.data(), n)), expected,
                    1e-6 * magnitude)
            << n;
    }
}

TEST(Bf16, VdpBf16GivesTheScalarBits) {
    const auto vector = select_bf16_kernels("avx512bf16");
    if (!vector) GTEST_SKIP() << vector.error().to_string();
    SeededRandom random(6);
    for (int round = 0; round < 300; ++round) {
        for (const std::int64_t n : kLengths) {
            std::vector<std::uint16_t> w, x;
            for (std::int64_t i = 0; i < n; ++i) {
                // All exponents in every third round: subnormal, overflowing, infinite, NaN.
                const std::uint64_t bits = random.next();
                const std::uint16_t keep = round % 3 == 0 ? 0xFFFF : round % 3 == 1 ? 0xBFFF : 0x83FF;
                const std::uint16_t one = round % 3 == 2 ? 0x3C00 : 0;
                w.push_back(static_cast<std::uint16_t>((bits & keep) | one));
                x.push_back(static_cast<std::uint16_t>(((bits >> 16) & keep) | one));
            }
            const Guarded<std::uint16_t> weights(w), values(x);
            const float expected = kScalarBf16Kernels.dot(weights.data(), values.data(), n);
            const float got = (*vector)->dot(weights.data(), values.data(), n);
            if (std::isnan(expected)) {
                ASSERT_TRUE(std::isnan(got)) << n;
            } else {
                ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected)) << n;
            }
        }
    }
}

TEST(DotKernels, UnknownNamesAreRefused) {
    EXPECT_EQ(select_int8_kernels("avx512").error().code(), Code::kInvalidArgument);
    EXPECT_EQ(select_bf16_kernels("vnni").error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ostal::engine::cpu
