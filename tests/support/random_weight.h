// Random rows of every element type, and what they mean in double precision.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "engine/core/dtype.h"
#include "engine/core/float_types.h"
#include "tests/support/tiny_model.h"

namespace ostal::test {

inline constexpr engine::DType kWeightTypes[] = {
    engine::DType::kF32,  engine::DType::kF16,  engine::DType::kBF16, engine::DType::kQ8_0,
    engine::DType::kQ4_0, engine::DType::kQ4_1, engine::DType::kQ5_0, engine::DType::kQ5_1,
    engine::DType::kQ4_K, engine::DType::kQ5_K, engine::DType::kQ6_K};

// Uniform in [-1, 1).
inline float random_float(SeededRandom& random) {
    return static_cast<float>(static_cast<std::int32_t>(random.next() >> 40U) - (1 << 23)) * 0x1p-23F;
}

inline std::vector<float> random_floats(SeededRandom& random, std::int64_t count) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& value : out) value = random_float(random);
    return out;
}

// Rows whose values lie about in [-scale, scale].
inline Bytes random_rows(SeededRandom& random, engine::DType dtype, std::int64_t rows, std::int64_t columns,
                         float scale = 1.0F) {
    using engine::DType;
    Bytes out(static_cast<std::size_t>(rows * engine::row_bytes(dtype, columns)));
    random.fill(out);  // quantised values; the rest is written over
    const auto f16 = [&](std::size_t at, float value) {
        store_le<std::uint16_t>(out.data() + at, engine::f16_from_f32(value));
    };
    const auto step = static_cast<std::size_t>(engine::block_bytes(dtype));
    for (std::size_t at = 0; at < out.size(); at += step) {
        const float value = scale * random_float(random);
        switch (dtype) {
            case DType::kF32:
                store_le<std::uint32_t>(out.data() + at, std::bit_cast<std::uint32_t>(value));
                break;
            case DType::kF16: f16(at, value); break;
            case DType::kBF16: store_le<std::uint16_t>(out.data() + at, engine::bf16_from_f32(value)); break;
            case DType::kQ8_0: f16(at, value / 128.0F); break;
            case DType::kQ4_0: f16(at, value / 8.0F); break;
            case DType::kQ4_1:
                f16(at, std::fabs(value) / 8.0F);
                f16(at + 2, -std::fabs(value));
                break;
            case DType::kQ5_0: f16(at, value / 16.0F); break;
            case DType::kQ5_1:
                f16(at, std::fabs(value) / 16.0F);
                f16(at + 2, -std::fabs(value));
                break;
            case DType::kQ4_K:  // scales and minima to 63: groups of other sizes and middles
                f16(at, value / (8.0F * 63.0F));
                f16(at + 2, value / 63.0F);
                break;
            case DType::kQ5_K:
                f16(at, value / (16.0F * 63.0F));
                f16(at + 2, value / 63.0F);
                break;
            case DType::kQ6_K: f16(at + 208, value / (32.0F * 128.0F)); break;
            case DType::kI32: break;
        }
    }
    return out;
}

// The values, as decode_values() reads them.
inline std::vector<double> row_values(engine::DType dtype, ByteSpan rows) {
    const std::vector<float> values = decode_values(dtype, rows);
    return {values.begin(), values.end()};
}

}  // namespace ostal::test
