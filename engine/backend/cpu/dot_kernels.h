// Dot products in the narrow types that some CPUs multiply in one instruction: int8 (AVX-512 VNNI) and bf16
// (AVX-512 BF16). Each vector kernel gives the same bits as its scalar one, which is the specification; no
// operation of the backend uses them yet. The rules of kernels.h hold.
#pragma once

#include <stdint.h>

namespace ostal::engine::cpu {

// Both sums run over sixteen lanes. They are added last, in this order, s the lanes: t[i] = s[i] + s[i + 8],
// then ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7])).

struct Int8Kernels {
    const char* name;  // "scalar", "avx512vnni"

    // Activations in blocks of 32 (n a multiple of 32): scale[b] = amax / 127, q = x * (127 / amax) to the
    // nearest integer, ties to even, amax the block's largest magnitude. Below 2^-100 the block is zeros with
    // scale 0; when a value is NaN or infinite it is zeros with scale NaN, so that every sum shows it.
    void (*quantise)(const float* x, int64_t n, int8_t* q, float* scale);
    // Sum over i of weight[i] * q[i] * scale[i / 32] for a row of n values (n a multiple of 32). Value i of
    // block b belongs to lane (b % 2) * 8 + i / 4. A lane adds, pair of blocks after pair of blocks,
    // float(exact integer sum of its four products) * (weight's scale * scale[b]), the factor in brackets
    // rounded to f32 and the multiplication fused with the addition; a missing last block counts as zeros.
    float (*dot_q8_0)(const void* row, const int8_t* q, const float* scale, int64_t n);
    float (*dot_q4_0)(const void* row, const int8_t* q, const float* scale, int64_t n);
};

struct Bf16Kernels {
    const char* name;  // "scalar", "avx512bf16"

    // Sum over i of weight[i] * x[i], both bf16, any n. Step s holds the values from 32 s, zeros behind the
    // last; in it lane l adds the products of values 2 l + 1, then 2 l, each fused and rounded to nearest,
    // ties to even, subnormal operands and results taken as zeros. Step s adds to set s % 4 of lanes;
    // (set 0 + set 1) + (set 2 + set 3) are the lanes that are added last.
    // Source of one lane's step: Intel 64 and IA-32 manual, volume 2, VDPBF16PS.
    float (*dot)(const void* row, const uint16_t* x, int64_t n);
};

extern const Int8Kernels kScalarInt8Kernels;
extern const Int8Kernels kAvx512VnniKernels;  // what kAvx512Kernels needs, and AVX512_VNNI
extern const Bf16Kernels kScalarBf16Kernels;
extern const Bf16Kernels kAvx512Bf16Kernels;  // what kAvx512Kernels needs, and AVX512_BF16

}  // namespace ostal::engine::cpu
