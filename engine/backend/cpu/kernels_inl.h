// The vector kernels: one source, compiled by each kernels_<isa>.cpp with a vector vocabulary V
// (vector_avx2.h, vector_avx512.h).
//
// The order of every sum depends on lengths alone. A dot product adds products lane by lane in steps of
// V::kLanes values, then adds the lanes in V::sum's order: however many rows and tokens share a tile, and
// wherever the k blocks cut, each dot product sees the same operations.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/backend/cpu/formats_inl.h"
#include "engine/backend/cpu/inline.h"
#include "engine/backend/cpu/kernels.h"

namespace ostal::engine::cpu {
namespace {

// ---- exp

// e^x to about 1 ulp; 0 below -87, +inf above 88.7 by the last multiplication, NaN for NaN.
// x = n ln 2 + r, |r| <= ln 2 / 2; the Taylor polynomial of degree 7 errs there by less than 6e-9 of the
// value.
template <class V>
OSTAL_INLINE typename V::F exp_of(typename V::F x) {
    using F = typename V::F;
    const F low = V::set1(-87.0F);
    const F clamped = V::min(V::set1(89.0F), V::max(low, x));
    const F n = V::round(V::mul(clamped, V::set1(1.44269504F)));
    F r = V::nfma(n, V::set1(0.693359375F), clamped);  // ln 2 in two pieces: the first product is exact
    r = V::nfma(n, V::set1(-2.12194440e-4F), r);
    F p = V::set1(1.0F / 5040.0F);
    p = V::fma(p, r, V::set1(1.0F / 720.0F));
    p = V::fma(p, r, V::set1(1.0F / 120.0F));
    p = V::fma(p, r, V::set1(1.0F / 24.0F));
    p = V::fma(p, r, V::set1(1.0F / 6.0F));
    p = V::fma(p, r, V::set1(0.5F));
    p = V::fma(p, r, V::set1(1.0F));
    p = V::fma(p, r, V::set1(1.0F));
    // Two factors: 2^128 is not a float.
    const F half = V::round(V::mul(n, V::set1(0.5F)));
    p = V::times_power_of_2(V::times_power_of_2(p, half), V::sub(n, half));
    return V::zero_below(x, low, p);
}

template <class V>
OSTAL_INLINE float exp_of_one(float x) {
    float lanes[V::kLanes];
    V::store(lanes, exp_of<V>(V::set1(x)));
    return lanes[0];
}

// ---- Products

constexpr int64_t kRowTile = 4;
constexpr int64_t kTokenChunk = 48;  // tokens whose partial sums are kept while a row panel's k blocks pass
constexpr int64_t kKBlock = 1024;    // values; a panel of 4 rows is 16 KiB as f32
constexpr int64_t kUnpackFrom =
    4;  // tokens from which a quantised panel is unpacked first (the values are the same)

// How far ahead of its use a weight is asked for, in bytes from the one in use. Rows that follow each other
// are read R at a time: short ones are asked for whole panels ahead, long ones in their own stream.
OSTAL_INLINE int64_t prefetch_distance(int64_t panel_bytes) {
    constexpr int64_t kAhead = 4096;
    if (panel_bytes == 0) return 0;
    if (panel_bytes > 4 * kAhead) return kAhead / 4;
    return (kAhead + panel_bytes - 1) / panel_bytes * panel_bytes;
}

// sums[r * V::kTokenTile + n] += w_r[0..k) * x_n[0..k) in lanes. w_r = w + r * row_stride_bytes; ahead:
// prefetch_distance, 0 for none.
template <class V, class Step, int R, int N>
void tile(const char* w, int64_t row_stride_bytes, const float* const* x, int64_t x_offset, int64_t k,
          int64_t ahead, typename V::F* sums) {
    using F = typename V::F;
    constexpr int64_t kSteps = Step::kBytes < 64 ? 64 / Step::kBytes : 1;  // about a cache line
    F acc[size_t{R}][size_t{N}];
    const float* xs[size_t{N}];
    for (int n = 0; n < N; ++n) xs[n] = x[n] + x_offset;
    for (int r = 0; r < R; ++r) {
        for (int n = 0; n < N; ++n) acc[r][n] = sums[r * V::kTokenTile + n];
    }
    int64_t i = 0;
    const auto step = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            F values[Step::kVectors];
            Step::load(w + r * row_stride_bytes, values);
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
                for (int j = 0; j < Step::kVectors; ++j) {
                    acc[r][n] = V::fma(values[j], V::load(xs[n] + i + j * V::kLanes), acc[r][n]);
                }
            }
        }
        i += Step::kValues;
        w += Step::kBytes;
    };
    while (i + kSteps * Step::kValues <= k) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            if (ahead != 0) V::prefetch(w + r * row_stride_bytes + ahead);
        }
#pragma GCC unroll 4
        for (int64_t j = 0; j < kSteps; ++j) step();
    }
    while (i + Step::kValues <= k) step();
    if (i < k) {
        for (int r = 0; r < R; ++r) {
            const F values = Step::load_partial(w + r * row_stride_bytes, k - i);
            for (int n = 0; n < N; ++n) {
                acc[r][n] = V::fma(values, V::load_partial(xs[n] + i, k - i), acc[r][n]);
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int n = 0; n < N; ++n) sums[r * V::kTokenTile + n] = acc[r][n];
    }
}

// tile() with min(tokens, kMost) tokens.
template <class V, class Step, int R, int kMost>
OSTAL_INLINE void tile_of_at_most(int64_t tokens, const char* w, int64_t row_stride_bytes,
                                  const float* const* x, int64_t x_offset, int64_t k, int64_t ahead,
                                  typename V::F* sums) {
    if constexpr (kMost > 1) {
        if (tokens < kMost) {
            return tile_of_at_most<V, Step, R, kMost - 1>(tokens, w, row_stride_bytes, x, x_offset, k, ahead,
                                                          sums);
        }
    }
    tile<V, Step, R, kMost>(w, row_stride_bytes, x, x_offset, k, ahead, sums);
}

template <class V, class Step, int R>
void tiles(const char* w, int64_t row_stride_bytes, const float* const* x, int64_t tokens, int64_t x_offset,
           int64_t k, int64_t ahead, typename V::F* sums) {
    static_assert(kTokenChunk % V::kTokenTile == 0);
    for (int64_t t = 0; t < tokens; t += V::kTokenTile, sums += R * V::kTokenTile) {
        tile_of_at_most<V, Step, R, V::kTokenTile>(tokens - t, w, row_stride_bytes, x + t, x_offset, k, ahead,
                                                   sums);
        ahead = 0;  // the first tile asked for all of it
    }
}

// dots[t * R + r] into out[row of token first + t][row + r].
template <class V, int R>
void finish(const MultiplyArgs& args, int64_t row, int64_t first, int64_t tokens, float* dots) {
    float* out[kTokenChunk];
    for (int64_t t = 0; t < tokens; ++t) {
        const int64_t out_row = args.out_rows != nullptr ? args.out_rows[first + t] : first + t;
        out[t] = args.out + out_row * args.out_stride + row;
    }
    if (args.mode == kMultiplyGate) {
        float gates[size_t{kTokenChunk * R}];
        for (int64_t t = 0; t < tokens; ++t) {
            for (int r = 0; r < R; ++r) gates[t * R + r] = out[t][r];
        }
        for (int64_t i = tokens * R; i % V::kLanes != 0; ++i) gates[i] = 0.0F;
        for (int64_t i = 0; i < tokens * R; i += V::kLanes) {
            const typename V::F z = V::load(gates + i);
            const typename V::F one = V::set1(1.0F);
            V::store(gates + i, V::div(z, V::add(one, exp_of<V>(V::sub(V::zero(), z)))));
        }
        for (int64_t t = 0; t < tokens; ++t) {
            for (int r = 0; r < R; ++r) out[t][r] = gates[t * R + r] * dots[t * R + r];
        }
        return;
    }
    for (int64_t t = 0; t < tokens; ++t) {
        const float scale = args.scale != nullptr ? args.scale[first + t] : 1.0F;
        for (int r = 0; r < R; ++r) {
            const float value = scale * dots[t * R + r];
            out[t][r] = args.mode == kMultiplyAdd ? out[t][r] + value : value;
        }
    }
}

// R weight rows from `row` with the tokens [first, first + tokens), whose x rows are given.
template <class V, class Step, int R>
void panel(const MultiplyArgs& args, int64_t row, int64_t first, int64_t tokens, const float* const* x) {
    typename V::F sums[size_t{kTokenChunk * R}];
    for (int64_t i = 0; i < (tokens + V::kTokenTile - 1) / V::kTokenTile * V::kTokenTile * R; ++i)
        sums[i] = V::zero();
    const char* weight = static_cast<const char*>(args.weight) + row * args.row_stride_bytes;
    const int64_t ahead = prefetch_distance(R * args.row_stride_bytes);
    bool unpack = Step::kUnpacked;
    if constexpr (!Step::kUnpacked) unpack = Step::kVectors > 1 && tokens >= kUnpackFrom;
    for (int64_t begin = 0; begin < args.k; begin += kKBlock) {
        const int64_t n = args.k - begin < kKBlock ? args.k - begin : kKBlock;
        const char* w = weight + begin / Step::kValues * Step::kBytes;
        if (unpack) {
            alignas(64) float unpacked[size_t{R * kKBlock}];
            for (int r = 0; r < R; ++r)
                dequantise<V, Step>(w + r * args.row_stride_bytes, n, unpacked + r * kKBlock);
            tiles<V, StepF32<V>, R>(reinterpret_cast<const char*>(unpacked), kKBlock * 4, x, tokens, begin, n,
                                    0, sums);
        } else if constexpr (!Step::kUnpacked) {
            tiles<V, Step, R>(w, args.row_stride_bytes, x, tokens, begin, n, ahead, sums);
        }
    }
    float dots[size_t{kTokenChunk * R}];
    for (int64_t t = 0; t < tokens; ++t) {
        const typename V::F* sum = sums + t / V::kTokenTile * V::kTokenTile * R + t % V::kTokenTile;
        for (int r = 0; r < R; ++r) dots[t * R + r] = V::sum(sum[r * V::kTokenTile]);
    }
    finish<V, R>(args, row, first, tokens, dots);
}

template <class V, class Step>
void multiply(const MultiplyArgs& args) {
    for (int64_t first = 0; first < args.tokens; first += kTokenChunk) {
        const int64_t tokens = args.tokens - first < kTokenChunk ? args.tokens - first : kTokenChunk;
        const float* x[kTokenChunk];
        for (int64_t t = 0; t < tokens; ++t) {
            const int64_t x_row = args.x_rows != nullptr ? args.x_rows[first + t] : first + t;
            x[t] = args.x + x_row * args.x_stride;
        }
        int64_t row = 0;
        for (; row + kRowTile <= args.rows; row += kRowTile)
            panel<V, Step, kRowTile>(args, row, first, tokens, x);
        for (; row < args.rows; ++row) panel<V, Step, 1>(args, row, first, tokens, x);
    }
}

// ---- Attention

constexpr int32_t kMaxDim = 256;
constexpr int32_t kMaxKeys = 128;
constexpr int32_t kQueries = 8;  // (token, head) pairs that share a pass over the keys

// scores[j] = scale * q k_j for n keys, `stride_bytes` apart.
template <class V, class Step>
void key_scores(const float* q, const char* keys, int64_t stride_bytes, int32_t n, int64_t dim, float scale,
                float* scores) {
    const float* const x[1] = {q};
    typename V::F sums[kRowTile * V::kTokenTile];
    for (int32_t j = 0; j < n; j += kRowTile) {
        const int32_t count = n - j < kRowTile ? n - j : static_cast<int32_t>(kRowTile);
        for (int r = 0; r < kRowTile; ++r) sums[r * V::kTokenTile] = V::zero();
        if (count == kRowTile) {
            tile<V, Step, kRowTile, 1>(keys + j * stride_bytes, stride_bytes, x, 0, dim, 0, sums);
        } else {
            for (int32_t r = 0; r < count; ++r) {
                tile<V, Step, 1, 1>(keys + (j + r) * stride_bytes, stride_bytes, x, 0, dim, 0,
                                    sums + r * V::kTokenTile);
            }
        }
        for (int32_t r = 0; r < count; ++r) scores[j + r] = scale * V::sum(sums[r * V::kTokenTile]);
    }
}

// out[d] = out[d] * correction + sum over j of weights[j] * values[j][d], from the first key to the last.
// kWidth vectors of d stay in registers.
template <class V, class Step, int kWidth>
OSTAL_INLINE void add_values_at(const float* weights, const char* values, int64_t stride_bytes, int32_t n,
                                float correction, int64_t d, float* out) {
    using F = typename V::F;
    F acc[size_t{kWidth}];
    for (int c = 0; c < kWidth; ++c) acc[c] = V::mul(V::load(out + d + c * V::kLanes), V::set1(correction));
    for (int32_t j = 0; j < n; ++j) {
        const char* p = values + j * stride_bytes + d / Step::kValues * Step::kBytes;
        const F weight = V::set1(weights[j]);
        for (int c = 0; c < kWidth; ++c) {
            F value[1];
            Step::load(p + c * Step::kBytes, value);
            acc[c] = V::fma(weight, value[0], acc[c]);
        }
    }
    for (int c = 0; c < kWidth; ++c) V::store(out + d + c * V::kLanes, acc[c]);
}

template <class V, class Step>
void add_values(const float* weights, const char* values, int64_t stride_bytes, int32_t n, float correction,
                int64_t dim, float* out) {
    using F = typename V::F;
    int64_t d = 0;
    for (; d + 4 * V::kLanes <= dim; d += 4 * V::kLanes) {
        add_values_at<V, Step, 4>(weights, values, stride_bytes, n, correction, d, out);
    }
    for (; d + V::kLanes <= dim; d += V::kLanes) {
        add_values_at<V, Step, 1>(weights, values, stride_bytes, n, correction, d, out);
    }
    if (d < dim) {
        F acc = V::mul(V::load_partial(out + d, dim - d), V::set1(correction));
        for (int32_t j = 0; j < n; ++j) {
            const char* p = values + j * stride_bytes + d / Step::kValues * Step::kBytes;
            acc = V::fma(V::set1(weights[j]), Step::load_partial(p, dim - d), acc);
        }
        V::store_partial(out + d, acc, dim - d);
    }
}

template <class V>
struct Query {
    const float* q;
    float* out;
    int32_t first_key;  // it sees the keys [first_key, end_key)
    int32_t end_key;
    float max;
    float sum;
};

// One block of n keys for one query: scores, new maximum, weights, values.
template <class V, class Step>
void attend(Query<V>& query, const AttentionArgs& args, const char* keys, const char* values, int32_t n) {
    using F = typename V::F;
    const int64_t dim = args.head_dim;
    const int64_t stride_bytes = dim * (Step::kBytes / Step::kValues);
    float scores[kMaxKeys + V::kLanes];
    key_scores<V, Step>(query.q, keys, stride_bytes, n, dim, args.scale, scores);
    float max = query.max;
    for (int32_t j = 0; j < n; ++j) {
        if (scores[j] > max) max = scores[j];
    }
    const float correction = exp_of_one<V>(query.max - max);
    for (int32_t j = n; j % V::kLanes != 0; ++j) scores[j] = -INFINITY;
    F sums = V::zero();
    for (int32_t j = 0; j < n; j += V::kLanes) {
        const F weight = exp_of<V>(V::sub(V::load(scores + j), V::set1(max)));
        V::store(scores + j, weight);
        sums = V::add(sums, weight);
    }
    query.sum = query.sum * correction + V::sum(sums);
    query.max = max;
    add_values<V, Step>(scores, values, stride_bytes, n, correction, dim, query.out);
}

template <class V, class Step>
void attention(const AttentionArgs& args) {
    const int32_t total = args.tokens * args.group;
    for (int32_t first = 0; first < total; first += kQueries) {
        const int32_t count = total - first < kQueries ? total - first : kQueries;
        Query<V> queries[kQueries];
        int32_t first_key = args.first_position + args.tokens;
        int32_t end_key = 0;
        for (int32_t i = 0; i < count; ++i) {
            const int32_t token = (first + i) / args.group;
            const int32_t head = (first + i) % args.group;
            Query<V>& query = queries[i];
            query.q = args.q + token * args.q_stride + int64_t{head} * args.head_dim;
            query.out = args.out + token * args.out_stride + int64_t{head} * args.head_dim;
            query.end_key = args.first_position + token + 1;
            query.first_key =
                args.window > 0 && query.end_key > args.window ? query.end_key - args.window : 0;
            query.max = -INFINITY;
            query.sum = 0.0F;
            for (int32_t d = 0; d < args.head_dim; ++d) query.out[d] = 0.0F;
            if (query.first_key < first_key) first_key = query.first_key;
            if (query.end_key > end_key) end_key = query.end_key;
        }
        for (int32_t block = first_key / args.block_tokens; block * args.block_tokens < end_key; ++block) {
            const int32_t begin = block * args.block_tokens;
            const int32_t end = begin + args.block_tokens;
            for (int32_t i = 0; i < count; ++i) {
                const int32_t from = queries[i].first_key > begin ? queries[i].first_key : begin;
                const int32_t to = queries[i].end_key < end ? queries[i].end_key : end;
                if (from >= to) continue;
                const int64_t at = args.block_table[block] * args.block_stride_bytes +
                                   (from - begin) * int64_t{args.head_dim} * (Step::kBytes / Step::kValues);
                attend<V, Step>(queries[i], args, static_cast<const char*>(args.keys) + at,
                                static_cast<const char*>(args.values) + at, to - from);
            }
        }
        for (int32_t i = 0; i < count; ++i) {
            for (int32_t d = 0; d < args.head_dim; ++d) queries[i].out[d] /= queries[i].sum;
        }
    }
}

// ---- Rows

template <class V>
void rms_norm(const float* x, const float* gain, int64_t n, float eps, float* out) {
    using F = typename V::F;
    F squares = V::zero();
    int64_t i = 0;
    for (; i + V::kLanes <= n; i += V::kLanes) squares = V::fma(V::load(x + i), V::load(x + i), squares);
    if (i < n) {
        const F last = V::load_partial(x + i, n - i);
        squares = V::fma(last, last, squares);
    }
    const F scale = V::set1(1.0F / sqrtf(V::sum(squares) / static_cast<float>(n) + eps));
    for (i = 0; i + V::kLanes <= n; i += V::kLanes) {
        V::store(out + i, V::mul(V::mul(V::load(x + i), scale), V::load(gain + i)));
    }
    if (i < n) {
        const F value =
            V::mul(V::mul(V::load_partial(x + i, n - i), scale), V::load_partial(gain + i, n - i));
        V::store_partial(out + i, value, n - i);
    }
}

template <class V>
void rope(const float* x, const float* cosines, const float* sines, int64_t heads, int64_t half, float* out) {
    using F = typename V::F;
    for (int64_t head = 0; head < heads; ++head, x += 2 * half, out += 2 * half) {
        int64_t i = 0;
        for (; i + V::kLanes <= half; i += V::kLanes) {
            const F a = V::load(x + i), b = V::load(x + half + i);
            const F c = V::load(cosines + i), s = V::load(sines + i);
            V::store(out + i, V::nfma(b, s, V::mul(a, c)));
            V::store(out + half + i, V::fma(a, s, V::mul(b, c)));
        }
        if (i < half) {
            const int64_t n = half - i;
            const F a = V::load_partial(x + i, n), b = V::load_partial(x + half + i, n);
            const F c = V::load_partial(cosines + i, n), s = V::load_partial(sines + i, n);
            V::store_partial(out + i, V::nfma(b, s, V::mul(a, c)), n);
            V::store_partial(out + half + i, V::fma(a, s, V::mul(b, c)), n);
        }
    }
}

template <class V>
void to_bf16(const float* x, int64_t n, uint16_t* out) {
    int64_t i = 0;
    for (; i + V::kLanes <= n; i += V::kLanes) V::store_bf16(out + i, V::load(x + i));
    if (i < n) {
        uint16_t last[V::kLanes];
        V::store_bf16(last, V::load_partial(x + i, n - i));
        memcpy(out + i, last, static_cast<size_t>(n - i) * sizeof(uint16_t));
    }
}

template <class V>
int all_finite(const float* x, int64_t n) {
    int64_t i = 0;
    for (; i + V::kLanes <= n; i += V::kLanes) {
        if (!V::finite(V::load(x + i))) return 0;
    }
    return i == n || V::finite(V::load_partial(x + i, n - i)) ? 1 : 0;
}

template <class V>
constexpr Kernels make_kernels(const char* name) {
    return {
        .name = name,
        .dequantise = {dequantise<V, StepF32<V>>, dequantise<V, StepF16<V>>, dequantise<V, StepBF16<V>>,
                       dequantise<V, StepQ8_0<V>>, dequantise<V, StepQ4_0<V>>, dequantise<V, StepQ4_1<V>>,
                       dequantise<V, StepQ5_0<V>>, dequantise<V, StepQ5_1<V>>, dequantise<V, StepQ4_K<V>>,
                       dequantise<V, StepQ5_K<V>>, dequantise<V, StepQ6_K<V>>},
        .multiply = {multiply<V, StepF32<V>>, multiply<V, StepF16<V>>, multiply<V, StepBF16<V>>,
                     multiply<V, StepQ8_0<V>>, multiply<V, StepQ4_0<V>>, multiply<V, StepQ4_1<V>>,
                     multiply<V, StepQ5_0<V>>, multiply<V, StepQ5_1<V>>, multiply<V, StepQ4_K<V>>,
                     multiply<V, StepQ5_K<V>>, multiply<V, StepQ6_K<V>>},
        .attention = {attention<V, StepF32<V>>, nullptr, attention<V, StepBF16<V>>},
        .rms_norm = rms_norm<V>,
        .rope = rope<V>,
        .to_bf16 = to_bf16<V>,
        .all_finite = all_finite<V>,
    };
}

}  // namespace
}  // namespace ostal::engine::cpu
