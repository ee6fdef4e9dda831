// bf16 dot products with VDPBF16PS.
#include "engine/backend/cpu/dot_kernels.h"
#include "engine/backend/cpu/vector_avx512.h"

namespace ostal::engine::cpu {
namespace {

OSTAL_INLINE __m512bh load(const void* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p)); }

float dot(const void* row, const uint16_t* x, int64_t n) {
    const char* w = static_cast<const char*>(row);
    __m512 sets[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    int64_t i = 0;
    for (; i + 128 <= n; i += 128) {
        for (int s = 0; s < 4; ++s) {
            sets[s] = _mm512_dpbf16_ps(sets[s], load(w + 2 * i + 64 * s), load(x + i + 32 * s));
        }
    }
    for (int s = 0; i < n; i += 32, ++s) {
        char weights[64] = {}, values[64] = {};
        const auto bytes = static_cast<size_t>(n - i < 32 ? 2 * (n - i) : 64);
        memcpy(weights, w + 2 * i, bytes);
        memcpy(values, x + i, bytes);
        sets[s] = _mm512_dpbf16_ps(sets[s], load(weights), load(values));
    }
    return Avx512::sum(_mm512_add_ps(_mm512_add_ps(sets[0], sets[1]), _mm512_add_ps(sets[2], sets[3])));
}

}  // namespace

extern constexpr Bf16Kernels kAvx512Bf16Kernels = {"avx512bf16", dot};

}  // namespace ostal::engine::cpu
