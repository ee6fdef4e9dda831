// The table of CPU kernels: plain functions over raw pointers, one table per instruction set.
//
// The files that define them are compiled with an ISA's own flags, so this header and all they include define
// no inline function and no template of the standard library: the linker would keep one copy of such a weak
// symbol for the whole program, and that copy might hold instructions that an older CPU does not have.
//
// Every kernel works on one thread's share. Lengths are in values, strides in floats unless they say bytes.
// No kernel reads or writes a byte outside of what its arguments describe.
#pragma once

#include <stdint.h>

namespace ostal::engine::cpu {

// Element types of weights and of the KV cache; the order of the arrays in Kernels.
enum Format : int { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ4_K, kQ5_K, kQ6_K, kFormats };

enum MultiplyMode : int {
    kMultiplyStore,  // out = scale * dot
    kMultiplyAdd,    // out = out + scale * dot
    kMultiplyGate,   // out = silu(out) * dot; scale is not looked at
};

// Products of a few weight rows with all token rows: dot[t][r] = sum over i of weight[r][i] * x[t][i].
struct MultiplyArgs {
    const void* weight;        // row 0
    int64_t row_stride_bytes;  // between weight rows
    int64_t rows;              // R
    int64_t k;                 // values in a row; whole blocks of the format
    const float* x;            // [*, k]
    int64_t x_stride;
    const int32_t* x_rows;  // [T] row of x of each token; null: t
    int64_t tokens;         // T
    const float* scale;     // [T]; null: 1
    float* out;             // [*, R]
    int64_t out_stride;
    const int32_t* out_rows;  // [T] row of out of each token, each at most once; null: t
    MultiplyMode mode;
};

// Causal attention of some consecutive tokens of one sequence with the query heads of one kv head.
struct AttentionArgs {
    const float* q;  // [tokens, group, head_dim], tokens q_stride apart
    int64_t q_stride;
    float* out;  // the same shape
    int64_t out_stride;
    int32_t tokens;
    int32_t group;           // query heads of the kv head
    int32_t first_position;  // of token 0; token t sees the keys up to its own, first_position + t
    int32_t window;          // how many keys a token sees, its own included; 0: all from key 0 on
    int32_t head_dim;        // at most 256
    int32_t block_tokens;    // keys in a block, at most 128
    const void* keys;        // of the kv head in block 0: [block_tokens, head_dim]
    const void* values;
    int64_t block_stride_bytes;  // from block to block
    const int32_t* block_table;  // block of keys [b * block_tokens, (b + 1) * block_tokens)
    float scale;
};

struct Kernels {
    const char* name;  // "scalar", "avx2", "avx512"

    // out[i] = value i of a weight row, exactly (with a minimum: the sum rounded once).
    void (*dequantise[kFormats])(const void* row, int64_t n, float* out);
    void (*multiply[kFormats])(const MultiplyArgs& args);
    // Of the KV cache's formats; null elsewhere.
    void (*attention[kFormats])(const AttentionArgs& args);

    // out[i] = x[i] / sqrt(mean of x^2 + eps) * gain[i]; out may be x.
    void (*rms_norm)(const float* x, const float* gain, int64_t n, float eps, float* out);
    // Rotates `heads` heads of 2 * half values: out[i] = x[i] cos - x[i + half] sin,
    // out[i + half] = x[i + half] cos + x[i] sin; out may be x.
    void (*rope)(const float* x, const float* cosines, const float* sines, int64_t heads, int64_t half,
                 float* out);
    // To nearest, ties to even.
    void (*to_bf16)(const float* x, int64_t n, uint16_t* out);
    // 1 when no value is NaN or infinite.
    int (*all_finite)(const float* x, int64_t n);
};

extern const Kernels kScalarKernels;  // any CPU; the specification: plain loops
extern const Kernels kAvx2Kernels;    // AVX2, FMA and F16C
extern const Kernels kAvx512Kernels;  // those and AVX-512 F

}  // namespace ostal::engine::cpu
