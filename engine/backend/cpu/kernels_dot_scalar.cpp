// The specification of the int8 and bf16 dot products (dot_kernels.h).
#include <math.h>

#include "engine/backend/cpu/dot_kernels.h"
#include "engine/backend/cpu/scalar_values.h"

namespace ostal::engine::cpu {
namespace {

constexpr int kLanes = 16;

float sum_of(const float* s) {
    float t[8];
    for (int i = 0; i < 8; ++i) t[i] = s[i] + s[i + 8];
    return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

void quantise(const float* x, int64_t n, int8_t* q, float* scale) {
    for (int64_t begin = 0; begin < n; begin += 32) {
        uint32_t most = 0;  // magnitudes compare like their bits; a NaN is above infinity
        for (int i = 0; i < 32; ++i) {
            const uint32_t magnitude = bits_of_float(x[begin + i]) & 0x7FFFFFFFU;
            if (magnitude > most) most = magnitude;
        }
        const float amax = float_of_bits(most);
        const bool usable = amax >= 0x1p-100F && amax < INFINITY;
        scale[begin / 32] = usable ? amax / 127.0F : most < 0x7F800000U ? 0.0F : NAN;
        const float inverse = usable ? 127.0F / amax : 0.0F;
        for (int i = 0; i < 32; ++i) {
            q[begin + i] = usable ? static_cast<int8_t>(nearbyintf(x[begin + i] * inverse)) : int8_t{0};
        }
    }
}

// The integer of value i of a block.
int level_q8_0(const uint8_t* block, int i) { return static_cast<int8_t>(block[2 + i]); }
int level_q4_0(const uint8_t* block, int i) {
    return (i < 16 ? block[2 + i] & 15 : block[2 + i - 16] >> 4) - 8;
}

template <int (*level)(const uint8_t*, int), int64_t kBlockBytes>
float dot_i8(const void* row, const int8_t* q, const float* scale, int64_t n) {
    const auto* block = static_cast<const uint8_t*>(row);
    float lanes[kLanes] = {};
    for (int64_t b = 0; b < n / 32 || b % 2 == 1; ++b, block += kBlockBytes) {
        const bool missing = b == n / 32;
        const float factor = missing ? 0.0F : f16_value(load_u16(block)) * scale[b];
        for (int l = 0; l < 8; ++l) {
            int sum = 0;
            for (int i = 4 * l; i < 4 * l + 4 && !missing; ++i) sum += level(block, i) * q[32 * b + i];
            float& lane = lanes[b % 2 * 8 + l];
            lane = fmaf(static_cast<float>(sum), factor, lane);
        }
    }
    return sum_of(lanes);
}

// Zero where x is subnormal.
float flushed(float x) {
    const uint32_t bits = bits_of_float(x);
    return (bits & 0x7F800000U) == 0 ? float_of_bits(bits & 0x80000000U) : x;
}

float dot_bf16(const void* row, const uint16_t* x, int64_t n) {
    const auto* w = static_cast<const uint8_t*>(row);
    float sets[4][kLanes] = {};
    for (int64_t begin = 0; begin < n; begin += 32) {
        for (int64_t i = begin; i < begin + 32; i += 2) {
            float& lane = sets[begin / 32 % 4][(i - begin) / 2];
            for (int64_t at = i + 1; at >= i; --at) {
                const float weight = at < n ? flushed(bf16_value(load_u16(w + 2 * at))) : 0.0F;
                const float value = at < n ? flushed(bf16_value(x[at])) : 0.0F;
                lane = flushed(fmaf(weight, value, lane));
            }
        }
    }
    float lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = (sets[0][l] + sets[1][l]) + (sets[2][l] + sets[3][l]);
    return sum_of(lanes);
}

}  // namespace

const Int8Kernels kScalarInt8Kernels = {"scalar", quantise, dot_i8<level_q8_0, 34>, dot_i8<level_q4_0, 18>};
const Bf16Kernels kScalarBf16Kernels = {"scalar", dot_bf16};

}  // namespace ostal::engine::cpu
