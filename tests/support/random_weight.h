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

namespace ostal::test {

inline constexpr engine::DType kWeightTypes[] = {engine::DType::kF32,  engine::DType::kF16,
                                                 engine::DType::kBF16, engine::DType::kQ8_0,
                                                 engine::DType::kQ4_0, engine::DType::kQ4_1};

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
            case DType::kI32: break;
        }
    }
    return out;
}

// The values, from the layouts of engine/core/dtype.h. q4_1 rounds d * q + m to f32 once, as a reader does.
inline std::vector<double> row_values(engine::DType dtype, ByteSpan rows) {
    using engine::DType;
    std::vector<double> out;
    const auto f16 = [&](std::size_t at) {
        return static_cast<double>(engine::f32_from_f16(load_le<std::uint16_t>(rows.data() + at)));
    };
    for (std::size_t at = 0; at < rows.size(); at += static_cast<std::size_t>(engine::block_bytes(dtype))) {
        switch (dtype) {
            case DType::kF32:
                out.push_back(std::bit_cast<float>(load_le<std::uint32_t>(rows.data() + at)));
                break;
            case DType::kF16: out.push_back(f16(at)); break;
            case DType::kBF16:
                out.push_back(engine::f32_from_bf16(load_le<std::uint16_t>(rows.data() + at)));
                break;
            case DType::kQ8_0:
                for (std::size_t i = 0; i < 32; ++i)
                    out.push_back(f16(at) * static_cast<std::int8_t>(rows[at + 2 + i]));
                break;
            case DType::kQ4_0:
                for (std::size_t i = 0; i < 32; ++i) {
                    const int q = (rows[at + 2 + i % 16] >> (i < 16 ? 0 : 4)) & 15;
                    out.push_back(f16(at) * (q - 8));
                }
                break;
            case DType::kQ4_1:
                for (std::size_t i = 0; i < 32; ++i) {
                    const int q = (rows[at + 4 + i % 16] >> (i < 16 ? 0 : 4)) & 15;
                    out.push_back(static_cast<double>(static_cast<float>(f16(at) * q + f16(at + 2))));
                }
                break;
            case DType::kI32: break;
        }
    }
    return out;
}

}  // namespace ostal::test
