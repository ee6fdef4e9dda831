// The vector vocabulary of kernels_inl.h in AVX2, FMA and F16C: eight floats.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "engine/backend/cpu/inline.h"

namespace ostal::engine::cpu {
namespace {

struct Avx2 {
    using F = __m256;
    static constexpr int kLanes = 8;
    static constexpr int64_t kTokenTile = 3;  // 4 x 3 accumulators + 4 weights: 16 registers

    OSTAL_INLINE F zero() { return _mm256_setzero_ps(); }
    OSTAL_INLINE F set1(float x) { return _mm256_set1_ps(x); }
    OSTAL_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
    OSTAL_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
    OSTAL_INLINE void prefetch(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }  // p may be anywhere
    // The first n < 8 values, zeros behind them; nothing else is touched.
    OSTAL_INLINE __m256i mask(int64_t n) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
    }
    OSTAL_INLINE F load_partial(const float* p, int64_t n) { return _mm256_maskload_ps(p, mask(n)); }
    OSTAL_INLINE void store_partial(float* p, F x, int64_t n) { _mm256_maskstore_ps(p, mask(n), x); }

    OSTAL_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
    OSTAL_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
    OSTAL_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    OSTAL_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
    OSTAL_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }    // a * b + c
    OSTAL_INLINE F fms(F a, F b, F c) { return _mm256_fmsub_ps(a, b, c); }    // a * b - c
    OSTAL_INLINE F nfma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a * b
    OSTAL_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }              // b when either is NaN
    OSTAL_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }              // b when either is NaN
    OSTAL_INLINE F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    // a * 2^n for whole n in [-126, 127]
    OSTAL_INLINE F times_power_of_2(F a, F n) {
        const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
    }
    // 0 where a < b, else x (also where a is NaN)
    OSTAL_INLINE F zero_below(F a, F b, F x) { return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), x); }

    // ((0+4) + (2+6)) + ((1+5) + (3+7))
    OSTAL_INLINE float sum(F x) {
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
    }
    // Each lane of x is finite.
    OSTAL_INLINE bool finite(F x) {
        const F magnitude = _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
        const F below =
            _mm256_cmp_ps(magnitude, _mm256_castsi256_ps(_mm256_set1_epi32(0x7F800000)), _CMP_LT_OQ);
        return _mm256_movemask_ps(below) == 0xFF;
    }

    OSTAL_INLINE F load_bf16(const char* p) {
        const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    }
    OSTAL_INLINE F load_f16(const char* p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    OSTAL_INLINE float f16_value(const char* p) {
        uint16_t bits;
        memcpy(&bits, p, sizeof bits);
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
    }
    // Sixteen signed bytes.
    OSTAL_INLINE void of_i8x16(__m128i bytes, F* out) {
        out[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
        out[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
    }
    // Eight bf16, to nearest, ties to even, NaN kept.
    OSTAL_INLINE void store_bf16(uint16_t* p, F x) {
        const __m256i bits = _mm256_castps_si256(x);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
        const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
        const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
        const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
        const __m128i packed =
            _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
    }
};

}  // namespace
}  // namespace ostal::engine::cpu
