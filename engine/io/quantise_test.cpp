#include "engine/io/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/core/float_types.h"
#include "tests/support/random_weight.h"

namespace ostal::engine {
namespace {

Bytes quantised(DType to, const std::vector<float>& values) {
    Bytes out(static_cast<std::size_t>(row_bytes(to, static_cast<std::int64_t>(values.size()))));
    const Status done = quantise(to, values, out);
    EXPECT_TRUE(done) << done.error().to_string();
    return out;
}

// The bound of quantise.h for every value.
void expect_close(DType to, const std::vector<float>& values) {
    const Bytes bytes = quantised(to, values);
    const std::vector<float> back = test::decode_values(to, bytes);
    ASSERT_EQ(back.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint8_t* block = bytes.data() + i / 32 * static_cast<std::size_t>(block_bytes(to));
        const double step = static_cast<double>(f32_from_f16(load_le<std::uint16_t>(block)));
        const double x = static_cast<double>(values[i]);
        // x / step beyond 7.5 is on the side where q4_0 has no eighth level.
        const bool far_side = to == DType::kQ4_0 && x / step > 7.5;
        const double bound = (far_side ? 1.0 : 0.5) * std::fabs(step) * (1 + 1e-6);
        ASSERT_LE(std::fabs(static_cast<double>(back[i]) - x), bound)
            << dtype_name(to) << " " << i << " " << x;
    }
}

TEST(Quantise, ErrsByHalfAStepAtMost) {
    SeededRandom random(1);
    for (const DType to : {DType::kQ8_0, DType::kQ4_0}) {
        for (const float size : {1.0F, 3e-3F, 1e-5F, 2e4F, 7.1e-6F}) {
            std::vector<float> values = test::random_floats(random, 32 * 200);
            for (float& v : values) v *= size;
            expect_close(to, values);
        }
        // Scales among f16's subnormals, where the nearest one can be far away.
        for (int i = 1; i < 400; ++i) {
            std::vector<float> values = test::random_floats(random, 32);
            for (float& v : values) v *= static_cast<float>(i) * 1e-7F;
            expect_close(to, values);
        }
    }
}

TEST(Quantise, BlocksOfTheFormat) {
    std::vector<float> values(32, 0.0F);
    values[0] = 127.0F;
    values[1] = -0.5F;  // halves go to even
    values[2] = 1.5F;
    values[3] = -127.0F;
    const Bytes q8 = quantised(DType::kQ8_0, values);
    EXPECT_EQ(load_le<std::uint16_t>(q8.data()), 0x3C00);
    EXPECT_EQ(Bytes(q8.begin() + 2, q8.begin() + 6), (Bytes{127, 0, 2, 0x81}));

    std::vector<float> four(32, 0.0F);
    four[0] = 8.0F;  // the first extreme: the scale is -1
    four[16] = -8.0F;
    four[1] = -3.0F;
    const Bytes q4 = quantised(DType::kQ4_0, four);
    EXPECT_EQ(load_le<std::uint16_t>(q4.data()), 0xBC00);
    EXPECT_EQ(q4[2], 0xF0);  // 8 is level 0; -8 wants 16 and gets 15
    EXPECT_EQ(q4[3], 0x8B);

    for (const DType to : {DType::kQ8_0, DType::kQ4_0}) {
        const Bytes nothing = quantised(to, std::vector<float>(32, 0.0F));
        EXPECT_EQ(load_le<std::uint16_t>(nothing.data()), 0);
        EXPECT_EQ(test::decode_values(to, nothing), std::vector<float>(32, 0.0F));
    }
}

TEST(Quantise, RefusesWhatNoScaleReaches) {
    std::vector<float> values(64, 1.0F);
    values[40] = -1e30F;
    for (const DType to : {DType::kQ8_0, DType::kQ4_0}) {
        Bytes out(static_cast<std::size_t>(row_bytes(to, 64)));
        const Status done = quantise(to, values, out);
        ASSERT_FALSE(done);
        EXPECT_EQ(done.error().code(), Code::kUnsupported);
        EXPECT_NE(done.error().message().find("value 40"), std::string::npos);
    }
}

}  // namespace
}  // namespace ostal::engine
