// Values behind bits, for the scalar kernels (kernels.h says why they are not in float_types.h).
#pragma once

#include <stdint.h>
#include <string.h>

#include "engine/backend/cpu/inline.h"

namespace ostal::engine::cpu {
namespace {

OSTAL_INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
OSTAL_INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

OSTAL_INLINE uint16_t load_u16(const uint8_t* from) {
    return static_cast<uint16_t>(from[0] | (from[1] << 8));
}

OSTAL_INLINE float f16_value(uint16_t bits) {
    const uint32_t sign = (bits & 0x8000U) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1FU;
    const uint32_t fraction = bits & 0x3FFU;
    if (exponent == 0) {  // subnormal: fraction * 2^-24
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    if (exponent == 31) return float_of_bits(sign | 0x7F800000U | (fraction << 13));
    return float_of_bits(sign | ((exponent + 112U) << 23) | (fraction << 13));
}

OSTAL_INLINE float bf16_value(uint16_t bits) { return float_of_bits(static_cast<uint32_t>(bits) << 16); }

}  // namespace
}  // namespace ostal::engine::cpu
