// Weight formats for the vector kernels: how one step of a row becomes f32, exactly. Included by
// kernels_inl.h; the same rules hold (kernels.h). Layouts: engine/core/dtype.h.
//
// A step has kValues values in kBytes bytes. Formats whose step fits into registers have
// load(p, w), which fills kVectors vectors; floats also have load_partial for the end of a row. The K formats
// have unpack(p, out), which writes the step's values to memory.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/backend/cpu/inline.h"

namespace ostal::engine::cpu {
namespace {

template <class V>
struct StepF32 {
    static constexpr int kVectors = 1, kValues = V::kLanes, kBytes = 4 * kValues;
    static constexpr bool kUnpacked = false;
    OSTAL_INLINE void load(const char* p, typename V::F* w) {
        w[0] = V::load(reinterpret_cast<const float*>(p));
    }
    OSTAL_INLINE typename V::F load_partial(const char* p, int64_t n) {
        return V::load_partial(reinterpret_cast<const float*>(p), n);
    }
};

template <class V>
struct StepF16 {
    static constexpr int kVectors = 1, kValues = V::kLanes, kBytes = 2 * kValues;
    static constexpr bool kUnpacked = false;
    OSTAL_INLINE void load(const char* p, typename V::F* w) { w[0] = V::load_f16(p); }
    OSTAL_INLINE typename V::F load_partial(const char* p, int64_t n) {
        char padded[size_t{kBytes}] = {};
        memcpy(padded, p, static_cast<size_t>(2 * n));
        return V::load_f16(padded);
    }
};

template <class V>
struct StepBF16 {
    static constexpr int kVectors = 1, kValues = V::kLanes, kBytes = 2 * kValues;
    static constexpr bool kUnpacked = false;
    OSTAL_INLINE void load(const char* p, typename V::F* w) { w[0] = V::load_bf16(p); }
    OSTAL_INLINE typename V::F load_partial(const char* p, int64_t n) {
        char padded[size_t{kBytes}] = {};
        memcpy(padded, p, static_cast<size_t>(2 * n));
        return V::load_bf16(padded);
    }
};

// ---- Sixteen bytes at a time

OSTAL_INLINE __m128i load16(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
OSTAL_INLINE __m128i low_halves(__m128i bytes) { return _mm_and_si128(bytes, _mm_set1_epi8(15)); }
OSTAL_INLINE __m128i high_halves(__m128i bytes) {
    return _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
}
// 16 in byte i where bit i is set, else 0.
OSTAL_INLINE __m128i fifth_bits(uint16_t bits) {
    const __m128i each = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const __m128i spread = _mm_unpacklo_epi64(_mm_set1_epi8(static_cast<char>(bits & 0xFF)),
                                              _mm_set1_epi8(static_cast<char>(bits >> 8)));
    return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(spread, each), each), _mm_set1_epi8(16));
}
// 16 in each byte of which bit `bit` is set, else 0.
OSTAL_INLINE __m128i fifth_of(__m128i bytes, int bit) {
    const __m128i mask = _mm_set1_epi8(static_cast<char>(1 << bit));
    return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(bytes, mask), mask), _mm_set1_epi8(16));
}

// ---- Blocks of 32. Their rows are whole blocks: there is no partial step.

template <class V, int kBlockBytes>
struct Step32 {
    static constexpr int kVectors = 32 / V::kLanes, kValues = 32, kBytes = kBlockBytes;
    static constexpr int kHalf = kVectors / 2;
    static constexpr bool kUnpacked = false;
    OSTAL_INLINE typename V::F load_partial(const char*, int64_t) { return V::zero(); }
    // w = d * q, and d * q + m where the product is exact, so that this rounds once.
    OSTAL_INLINE void scale(const char* d, typename V::F* w) {
        const typename V::F factor = V::set1(V::f16_value(d));
        for (int j = 0; j < kVectors; ++j) w[j] = V::mul(w[j], factor);
    }
    OSTAL_INLINE void scale_and_add(const char* d, const char* m, typename V::F* w) {
        const typename V::F factor = V::set1(V::f16_value(d)), minimum = V::set1(V::f16_value(m));
        for (int j = 0; j < kVectors; ++j) w[j] = V::fma(w[j], factor, minimum);
    }
    OSTAL_INLINE void load_nibbles(const char* p, __m128i low_add, __m128i high_add, typename V::F* w) {
        const __m128i bytes = load16(p);
        V::of_i8x16(_mm_add_epi8(low_halves(bytes), low_add), w);
        V::of_i8x16(_mm_add_epi8(high_halves(bytes), high_add), w + kHalf);
    }
};

template <class V>
struct StepQ8_0 : Step32<V, 34> {
    OSTAL_INLINE void load(const char* p, typename V::F* w) {
        V::of_i8x16(load16(p + 2), w);
        V::of_i8x16(load16(p + 18), w + Step32<V, 34>::kHalf);
        Step32<V, 34>::scale(p, w);
    }
};

template <class V>
struct StepQ4_0 : Step32<V, 18> {
    OSTAL_INLINE void load(const char* p, typename V::F* w) {
        Step32<V, 18>::load_nibbles(p + 2, _mm_set1_epi8(-8), _mm_set1_epi8(-8), w);
        Step32<V, 18>::scale(p, w);
    }
};

template <class V>
struct StepQ4_1 : Step32<V, 20> {
    OSTAL_INLINE void load(const char* p, typename V::F* w) {
        Step32<V, 20>::load_nibbles(p + 4, _mm_setzero_si128(), _mm_setzero_si128(), w);
        Step32<V, 20>::scale_and_add(p, p + 2, w);
    }
};

OSTAL_INLINE uint32_t load_u32(const char* p) {
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    return bits;
}

template <class V>
struct StepQ5_0 : Step32<V, 22> {
    OSTAL_INLINE void load(const char* p, typename V::F* w) {
        const uint32_t high = load_u32(p + 2);
        const __m128i minus = _mm_set1_epi8(-16);
        Step32<V, 22>::load_nibbles(p + 6, _mm_add_epi8(fifth_bits(static_cast<uint16_t>(high)), minus),
                                    _mm_add_epi8(fifth_bits(static_cast<uint16_t>(high >> 16)), minus), w);
        Step32<V, 22>::scale(p, w);
    }
};

template <class V>
struct StepQ5_1 : Step32<V, 24> {
    OSTAL_INLINE void load(const char* p, typename V::F* w) {
        const uint32_t high = load_u32(p + 4);
        Step32<V, 24>::load_nibbles(p + 8, fifth_bits(static_cast<uint16_t>(high)),
                                    fifth_bits(static_cast<uint16_t>(high >> 16)), w);
        Step32<V, 24>::scale_and_add(p, p + 2, w);
    }
};

// ---- Blocks of 256

// out[0..16) = factor * q - minus, q signed bytes; the product is exact.
template <class V>
OSTAL_INLINE void store_scaled(__m128i q, typename V::F factor, typename V::F minus, float* out) {
    constexpr int kVectors = 16 / V::kLanes;
    typename V::F w[size_t{kVectors}];
    V::of_i8x16(q, w);
    for (int j = 0; j < kVectors; ++j) V::store(out + j * V::kLanes, V::fms(w[j], factor, minus));
}

// The scale and the minimum of group j of a q4_k or q5_k block.
struct GroupScale {
    int scale, minimum;
};
OSTAL_INLINE GroupScale group_scale(const char* packed, int j) {
    const auto* p = reinterpret_cast<const uint8_t*>(packed);
    if (j < 4) return {p[j] & 63, p[j + 4] & 63};
    return {(p[j + 4] & 15) | (p[j - 4] >> 6 << 4), (p[j + 4] >> 4) | (p[j] >> 6 << 4)};
}

template <class V>
struct StepQ4_K {
    static constexpr int kValues = 256, kBytes = 144;
    static constexpr bool kUnpacked = true;
    OSTAL_INLINE void unpack(const char* p, float* out) {
        const float d = V::f16_value(p), m = V::f16_value(p + 2);
        for (int j = 0; j < 8; j += 2) {
            const GroupScale low = group_scale(p + 4, j), high = group_scale(p + 4, j + 1);
            const auto d0 = V::set1(d * static_cast<float>(low.scale));
            const auto d1 = V::set1(d * static_cast<float>(high.scale));
            const auto m0 = V::set1(m * static_cast<float>(low.minimum));
            const auto m1 = V::set1(m * static_cast<float>(high.minimum));
            for (int i = 0; i < 32; i += 16) {
                const __m128i bytes = load16(p + 16 + 16 * j + i);
                store_scaled<V>(low_halves(bytes), d0, m0, out + 32 * j + i);
                store_scaled<V>(high_halves(bytes), d1, m1, out + 32 * j + 32 + i);
            }
        }
    }
};

template <class V>
struct StepQ5_K {
    static constexpr int kValues = 256, kBytes = 176;
    static constexpr bool kUnpacked = true;
    OSTAL_INLINE void unpack(const char* p, float* out) {
        const float d = V::f16_value(p), m = V::f16_value(p + 2);
        for (int j = 0; j < 8; j += 2) {
            const GroupScale low = group_scale(p + 4, j), high = group_scale(p + 4, j + 1);
            const auto d0 = V::set1(d * static_cast<float>(low.scale));
            const auto d1 = V::set1(d * static_cast<float>(high.scale));
            const auto m0 = V::set1(m * static_cast<float>(low.minimum));
            const auto m1 = V::set1(m * static_cast<float>(high.minimum));
            for (int i = 0; i < 32; i += 16) {
                const __m128i bytes = load16(p + 48 + 16 * j + i), fifth = load16(p + 16 + i);
                store_scaled<V>(_mm_add_epi8(low_halves(bytes), fifth_of(fifth, j)), d0, m0,
                                out + 32 * j + i);
                store_scaled<V>(_mm_add_epi8(high_halves(bytes), fifth_of(fifth, j + 1)), d1, m1,
                                out + 32 * j + 32 + i);
            }
        }
    }
};

template <class V>
struct StepQ6_K {
    static constexpr int kValues = 256, kBytes = 210;
    static constexpr bool kUnpacked = true;
    // Bits 2 g, 2 g + 1 of each byte as bits 4, 5, less 32.
    OSTAL_INLINE __m128i top_bits(__m128i bytes, int g) {
        const __m128i moved = g < 2 ? _mm_slli_epi16(bytes, 4 - 2 * g) : _mm_srli_epi16(bytes, 2 * g - 4);
        return _mm_sub_epi8(_mm_and_si128(moved, _mm_set1_epi8(0x30)), _mm_set1_epi8(32));
    }
    OSTAL_INLINE void unpack(const char* p, float* out) {
        const float d = V::f16_value(p + 208);
        const auto* scales = reinterpret_cast<const int8_t*>(p + 192);
        for (int half = 0; half < 2; ++half, out += 128, scales += 8) {
            for (int i = 0; i < 32; i += 16) {
                const __m128i high = load16(p + 128 + 32 * half + i);
                for (int g = 0; g < 4; ++g) {
                    const __m128i bytes = load16(p + 64 * half + 32 * (g % 2) + i);
                    const __m128i low = g < 2 ? low_halves(bytes) : high_halves(bytes);
                    const auto factor = V::set1(d * static_cast<float>(scales[2 * g + i / 16]));
                    store_scaled<V>(_mm_add_epi8(low, top_bits(high, g)), factor, V::zero(),
                                    out + 32 * g + i);
                }
            }
        }
    }
};

template <class V, class Step>
void dequantise(const void* row, int64_t n, float* out) {
    const char* p = static_cast<const char*>(row);
    int64_t i = 0;
    for (; i + Step::kValues <= n; i += Step::kValues, p += Step::kBytes) {
        if constexpr (Step::kUnpacked) {
            Step::unpack(p, out + i);
        } else {
            typename V::F w[size_t{Step::kVectors}];
            Step::load(p, w);
            for (int j = 0; j < Step::kVectors; ++j) V::store(out + i + j * V::kLanes, w[j]);
        }
    }
    if constexpr (!Step::kUnpacked) {
        if (i < n) V::store_partial(out + i, Step::load_partial(p, n - i), n - i);
    }
}

}  // namespace
}  // namespace ostal::engine::cpu
