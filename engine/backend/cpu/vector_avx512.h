// The vector vocabulary of kernels_inl.h in AVX-512 F: sixteen floats.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "engine/backend/cpu/inline.h"

namespace ostal::engine::cpu {
namespace {

struct Avx512 {
    using F = __m512;
    static constexpr int kLanes = 16;
    static constexpr int64_t kTokenTile = 6;  // 4 x 6 accumulators + 4 weights + 1: of 32 registers

    OSTAL_INLINE F zero() { return _mm512_setzero_ps(); }
    OSTAL_INLINE F set1(float x) { return _mm512_set1_ps(x); }
    OSTAL_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
    OSTAL_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
    OSTAL_INLINE void prefetch(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }  // p may be anywhere
    // The first n < 16 values, zeros behind them; nothing else is touched.
    OSTAL_INLINE __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }
    OSTAL_INLINE F load_partial(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask(n), p); }
    OSTAL_INLINE void store_partial(float* p, F x, int64_t n) { _mm512_mask_storeu_ps(p, mask(n), x); }

    OSTAL_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
    OSTAL_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    OSTAL_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    OSTAL_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
    OSTAL_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }    // a * b + c
    OSTAL_INLINE F fms(F a, F b, F c) { return _mm512_fmsub_ps(a, b, c); }    // a * b - c
    OSTAL_INLINE F nfma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
    OSTAL_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }              // b when either is NaN
    OSTAL_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }              // b when either is NaN
    OSTAL_INLINE F round(F a) {
        return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    // a * 2^n for whole n in [-126, 127]
    OSTAL_INLINE F times_power_of_2(F a, F n) {
        const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
        return _mm512_mul_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23)));
    }
    // 0 where a < b, else x (also where a is NaN)
    OSTAL_INLINE F zero_below(F a, F b, F x) {
        return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), x);
    }

    // Lanes i and i + 8 first, then as for eight lanes: ((0+4) + (2+6)) + ((1+5) + (3+7)).
    OSTAL_INLINE float sum(F x) {
        const __m256 low = _mm512_castps512_ps256(x);
        const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
        const __m256 eight = _mm256_add_ps(low, high);
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
    }
    // Each lane of x is finite.
    OSTAL_INLINE bool finite(F x) {
        const __m512i magnitude = _mm512_and_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF));
        return _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(0x7F800000)) == 0xFFFF;
    }

    OSTAL_INLINE F load_bf16(const char* p) {
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    OSTAL_INLINE F load_f16(const char* p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    OSTAL_INLINE float f16_value(const char* p) {
        uint16_t bits;
        memcpy(&bits, p, sizeof bits);
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
    }
    // Sixteen signed bytes.
    OSTAL_INLINE void of_i8x16(__m128i bytes, F* out) {
        out[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    }
    // Sixteen bf16, to nearest, ties to even, NaN kept.
    OSTAL_INLINE void store_bf16(uint16_t* p, F x) {
        const __m512i bits = _mm512_castps_si512(x);
        const __m512i odd = _mm512_and_epi32(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
        const __m512i quiet = _mm512_or_epi32(bits, _mm512_set1_epi32(0x400000));
        const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
        const __m512i high = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(high));
    }
};

}  // namespace
}  // namespace ostal::engine::cpu
