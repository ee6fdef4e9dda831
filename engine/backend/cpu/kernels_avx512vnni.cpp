// int8 dot products with VPDPBUSD, which multiplies unsigned by signed bytes and adds four products to each
// 32-bit lane, exactly.
#include <math.h>

#include "engine/backend/cpu/dot_kernels.h"
#include "engine/backend/cpu/vector_avx512.h"

namespace ostal::engine::cpu {
namespace {

OSTAL_INLINE __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
OSTAL_INLINE __m512i pair(__m256i first, __m256i second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}
OSTAL_INLINE __m512 pair_of_factors(float first, float second) {
    return _mm512_mask_mov_ps(_mm512_set1_ps(first), 0xFF00, _mm512_set1_ps(second));
}

void quantise(const float* x, int64_t n, int8_t* q, float* scale) {
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    for (int64_t begin = 0; begin < n; begin += 32) {
        const __m512 a = _mm512_loadu_ps(x + begin), b = _mm512_loadu_ps(x + begin + 16);
        const int most =
            _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_and_epi32(_mm512_castps_si512(a), magnitude),
                                                     _mm512_and_epi32(_mm512_castps_si512(b), magnitude)));
        float amax;
        memcpy(&amax, &most, sizeof amax);
        const bool usable = amax >= 0x1p-100F && amax < INFINITY;
        scale[begin / 32] = usable ? amax / 127.0F : most < 0x7F800000 ? 0.0F : NAN;
        const __m512 inverse = _mm512_set1_ps(usable ? 127.0F / amax : 0.0F);
        const auto keep = static_cast<__mmask16>(usable ? 0xFFFF : 0);
        const __m512i low = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(a, inverse));
        const __m512i high = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(b, inverse));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q + begin), _mm512_cvtsepi32_epi8(low));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q + begin + 16), _mm512_cvtsepi32_epi8(high));
    }
}

// w * x in lanes of four: (x + 128) is unsigned, and 128 w is taken off again.
struct Q8_0 {
    static constexpr int64_t kBlockBytes = 34;
    OSTAL_INLINE __m256i levels(const char* block) { return load32(block + 2); }
    OSTAL_INLINE __m512i products(__m512i w, __m512i x) {
        const __m512i middle = _mm512_set1_epi8(-128);
        const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_epi32(x, middle), w);
        return _mm512_sub_epi32(sum, _mm512_dpbusd_epi32(_mm512_setzero_si512(), middle, w));
    }
};
// The nibbles are unsigned as they are; 8 x is taken off.
struct Q4_0 {
    static constexpr int64_t kBlockBytes = 18;
    OSTAL_INLINE __m256i levels(const char* block) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 2));
        const __m128i low_bits = _mm_set1_epi8(15);
        return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_and_si128(bytes, low_bits)),
                                       _mm_and_si128(_mm_srli_epi16(bytes, 4), low_bits), 1);
    }
    OSTAL_INLINE __m512i products(__m512i w, __m512i x) {
        const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, x);
        return _mm512_sub_epi32(sum, _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(8), x));
    }
};

template <class Format>
float dot(const void* row, const int8_t* q, const float* scale, int64_t n) {
    const char* block = static_cast<const char*>(row);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t b = 0; b < n / 32; b += 2, block += 2 * Format::kBlockBytes, q += 64) {
        const bool last = b + 1 == n / 32;
        const char* next = block + Format::kBlockBytes;
        const __m512i w = pair(Format::levels(block), last ? _mm256_setzero_si256() : Format::levels(next));
        const __m512i x = pair(load32(q), last ? _mm256_setzero_si256() : load32(q + 32));
        const __m512 factors = pair_of_factors(Avx512::f16_value(block) * scale[b],
                                               last ? 0.0F : Avx512::f16_value(next) * scale[b + 1]);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(Format::products(w, x)), factors, sum);
    }
    return Avx512::sum(sum);
}

}  // namespace

extern constexpr Int8Kernels kAvx512VnniKernels = {"avx512vnni", quantise, dot<Q8_0>, dot<Q4_0>};

}  // namespace ostal::engine::cpu
