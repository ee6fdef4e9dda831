// Element types of tensors and their layout in bytes.
//
// A quantised type holds blocks of 32 or, the K types, 256 values of one row. Layouts (little-endian, GGUF's;
// ggml-common.h of the ggml project describes them). q is the stored unsigned number, d and m are f16:
//   q8_0: d, int8 q[32];                                   x = d * q
//   q4_0: d, nibbles[16];                                  x = d * (q - 8)
//   q4_1: d, m, nibbles[16];                               x = d * q + m
//   q5_0: d, high[4], nibbles[16];                         x = d * (q - 16)
//   q5_1: d, m, high[4], nibbles[16];                      x = d * q + m
//   q4_k: d, m, packed[12], nibbles[128];                  x = d * scale * q - m * minimum
//   q5_k: d, m, packed[12], high[32], nibbles[128];        x = d * scale * q - m * minimum
//   q6_k: nibbles[128], high[64], int8 scale[16], d;       x = d * scale * (q - 32)
// Blocks of 32: byte i of the nibbles holds value i in its low and value i + 16 in its high half; bit i of
// the 32-bit `high` is the fifth bit of value i.
// q4_k and q5_k: eight groups of 32 values, each with a scale and a minimum of six bits. Of the groups
// j < 4 they are the low six bits of packed[j] and packed[j + 4]; of the groups j >= 4 the low and high half
// of packed[j + 4], with the top two bits of packed[j - 4] and of packed[j] above them. Nibble byte 32 g + i
// holds value i of group 2 g in its low and value i of group 2 g + 1 in its high half; bit j of high[i] is
// the fifth bit of value i of group j.
// q6_k: sixteen groups of 16 values with one scale each. Half h has the 128 values from 128 h, the nibbles
// from 64 h and the `high` bytes from 32 h: in it nibble byte i < 64 holds value i low and value i + 64 high,
// and bits 2 g, 2 g + 1 of high[i] are the top two bits of value 32 g + i.
// Every x is exact in f32 up to one rounding where something is added or subtracted.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/check.h"

namespace ostal::engine {

enum class DType : std::uint8_t {
    kF32,
    kF16,
    kBF16,
    kQ8_0,
    kQ4_0,
    kQ4_1,
    kQ5_0,
    kQ5_1,
    kQ4_K,
    kQ5_K,
    kQ6_K,
    kI32
};

constexpr std::string_view dtype_name(DType type) {
    switch (type) {
        case DType::kF32: return "f32";
        case DType::kF16: return "f16";
        case DType::kBF16: return "bf16";
        case DType::kQ8_0: return "q8_0";
        case DType::kQ4_0: return "q4_0";
        case DType::kQ4_1: return "q4_1";
        case DType::kQ5_0: return "q5_0";
        case DType::kQ5_1: return "q5_1";
        case DType::kQ4_K: return "q4_k";
        case DType::kQ5_K: return "q5_k";
        case DType::kQ6_K: return "q6_k";
        case DType::kI32: return "i32";
    }
    return "?";
}

// Values in the smallest addressable piece of a row.
constexpr std::int64_t block_elements(DType type) {
    switch (type) {
        case DType::kF32:
        case DType::kF16:
        case DType::kBF16:
        case DType::kI32: return 1;
        case DType::kQ8_0:
        case DType::kQ4_0:
        case DType::kQ4_1:
        case DType::kQ5_0:
        case DType::kQ5_1: return 32;
        case DType::kQ4_K:
        case DType::kQ5_K:
        case DType::kQ6_K: return 256;
    }
    return 1;
}

constexpr bool is_quantised(DType type) { return block_elements(type) > 1; }

constexpr std::int64_t block_bytes(DType type) {
    switch (type) {
        case DType::kF32: return 4;
        case DType::kF16: return 2;
        case DType::kBF16: return 2;
        case DType::kQ8_0: return 34;
        case DType::kQ4_0: return 18;
        case DType::kQ4_1: return 20;
        case DType::kQ5_0: return 22;
        case DType::kQ5_1: return 24;
        case DType::kQ4_K: return 144;
        case DType::kQ5_K: return 176;
        case DType::kQ6_K: return 210;
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
