// Element types of tensors and their layout in bytes.
//
// Quantised types hold blocks of 32 values of one row. Layouts (little-endian, GGUF's; ggml-common.h of the
// ggml project describes them):
//   q8_0: f16 scale d, int8 q[32];                     x = d * q
//   q4_0: f16 scale d, 16 bytes of two 4-bit q;        x = d * (q - 8)
//   q4_1: f16 scale d, f16 minimum m, 16 bytes of q;   x = d * q + m
// In the 16 bytes, byte i holds value i in its low and value i + 16 in its high half.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/check.h"

namespace ostal::engine {

enum class DType : std::uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kI32 };

inline constexpr std::int64_t kQuantBlock = 32;  // values in a block of a quantised type

constexpr std::string_view dtype_name(DType type) {
    switch (type) {
        case DType::kF32: return "f32";
        case DType::kF16: return "f16";
        case DType::kBF16: return "bf16";
        case DType::kQ8_0: return "q8_0";
        case DType::kQ4_0: return "q4_0";
        case DType::kQ4_1: return "q4_1";
        case DType::kI32: return "i32";
    }
    return "?";
}

constexpr bool is_quantised(DType type) {
    return type == DType::kQ8_0 || type == DType::kQ4_0 || type == DType::kQ4_1;
}

// Values in the smallest addressable piece of a row.
constexpr std::int64_t block_elements(DType type) { return is_quantised(type) ? kQuantBlock : 1; }

constexpr std::int64_t block_bytes(DType type) {
    switch (type) {
        case DType::kF32: return 4;
        case DType::kF16: return 2;
        case DType::kBF16: return 2;
        case DType::kQ8_0: return 34;
        case DType::kQ4_0: return 18;
        case DType::kQ4_1: return 20;
        case DType::kI32: return 4;
    }
    return 0;
}

// Bytes of a row of `columns` values; `columns` is a multiple of block_elements: CHECK.
inline std::int64_t row_bytes(DType type, std::int64_t columns) {
    CHECK_EQ(columns % block_elements(type), 0);
    return columns / block_elements(type) * block_bytes(type);
}

}  // namespace ostal::engine
