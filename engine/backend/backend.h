// Backend: the fused operations that forward() is written in. One implementation per device.
//
// Letters: T token rows, S sequences, D dim, H heads, K kv heads, Dh head_dim, F hidden_dim, E experts,
// A experts a token, V vocabulary, L rows whose logits are wanted, B tokens in a KV block, N x K of a weight
// (y = W x). Activations and norm gains are f32. Shapes are checked here, once, in the non-virtual methods: a
// mismatch is our bug and aborts. Views may overlap only where a comment says so.
//
// The sum of a dot product has an order that depends on the weight's shape, type and the ISA alone: never on
// the number of rows, a row's place in the batch, the chunking of a prompt or the number of threads.
//
// All operations are called by one thread (the rank's). On a device with its own queue they return before
// they are done; the caller waits through the copy of the result.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/core/view.h"
#include "engine/model/batch.h"
#include "engine/model/kv_cache.h"

namespace ostal::engine {

// Limits of every backend: buffers of these sizes live in registers and on stacks.
inline constexpr std::int64_t kMaxHeadDim = 256;
inline constexpr std::int64_t kMaxBlockTokens = 128;
inline constexpr std::int64_t kMaxExperts = 256;

// What happens to the old content of an output.
enum class Epilogue : std::uint8_t {
    kStore,  // y = f(x)
    kAdd,    // y = y + f(x): the residual
};

// Token rows sorted by expert. A slot is one (token, expert) pair; there are T * A. In one expert the slots
// are in the order of the token rows.
struct MoePlan {
    View offsets;      // [E + 1] i32: expert e has the slots [offsets[e], offsets[e + 1])
    View slot_row;     // [T * A] i32: token row of a slot
    View slot_weight;  // [T * A] f32: routing weight of a slot
};

class Backend {
public:
    virtual ~Backend() = default;

    virtual std::string_view name() const = 0;  // "cpu"
    virtual std::string_view isa() const = 0;   // "scalar", "avx2", "avx512"
    // Called once by the thread that will call the operations.
    virtual void attach_thread() = 0;

    // out [T, D] = rows of the table [V, D]. CHECK: ids below V (the engine refused others).
    void embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out);

    // out [T, D] = x / sqrt(mean(x^2) + eps) * gain [D]; out may be x.
    // Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), eq. 4.
    void rms_norm(const View& x, const Weight& gain, float eps, const View& out);

    // out [T, N] = x [T, K] W^T, W [N, K]; with kAdd onto out.
    void linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out);

    // cosines, sines [T, Dh / 2] of position * frequency[i], computed in double.
    void rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                     const View& cosines, const View& sines);

    // Rotates q [T, H * Dh] in place and k [T, K * Dh] on its way into the cache, and stores v [T, K * Dh]
    // there. Pairs are (i, i + Dh / 2): the loader brings interleaved files to this form. Source: Su et al.,
    // "RoFormer" (2021), section 3.4.2.
    void rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                              const View& sines, const Batch& batch, const KvLayer& cache);

    // out [T, H * Dh] = softmax(q k^T * scale) v over the keys at positions <= the query's, of those the last
    // `window` where it is above 0 (Jiang et al., "Mistral 7B" (2023), section 2). Head h reads kv
    // head h / (H / K). Keys are taken in blocks of B with a running maximum, the same blocks in both.
    // attention_decode serves the batch's decode sequences, attention_prefill the rest; each writes its own
    // rows. Source: Ainslie et al., "GQA" (2023); Milakov and Gimelshein, "Online normalizer calculation for
    // softmax" (2018), algorithm 3; Dao et al., "FlashAttention" (2022).
    void attention_decode(const View& q, const Batch& batch, const KvLayer& cache, float scale,
                          std::int32_t window, const View& out);
    void attention_prefill(const View& q, const Batch& batch, const KvLayer& cache, float scale,
                           std::int32_t window, const View& out);

    // experts [T, A] i32 = the A highest of logits [T, E] (the lower expert among equals), in falling order;
    // weights [T, A] = softmax over those in f32.
    // Source: Jiang et al., "Mixtral of Experts" (2024), section 2.1.
    void router_top_k(const View& logits, const View& experts, const View& weights);

    // Counting sort of the (token, expert) pairs by expert. offsets [E + 1].
    void moe_plan(const View& experts, const View& weights, const MoePlan& plan);

    // out [T * A, F]: slot s of expert e = silu(w1[e] x) * (w3[e] x), x [T, D] the slot's token row;
    // w1, w3 [E, F, D]. A dense layer is one expert for all tokens.
    // Source: Shazeer, "GLU Variants Improve Transformer" (2020), eq. 6.
    void moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan, const View& out);

    // out [T, D] += the slot's routing weight * w2[e] h[s], h [T * A, F], w2 [E, D, F]; a token's experts are
    // added in rising order. With kStore out begins at zero.
    void moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue, const View& out);

    // out [L, V] = W rms_norm(x[rows[l]]), W [V, D]; finite [L] i32: 1 where all of a row's logits are
    // finite. `normed` [L, D] is scratch.
    void logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                const Weight& weight, const View& normed, const View& out, const View& finite);

protected:
    virtual void do_embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) = 0;
    virtual void do_rms_norm(const View& x, const Weight& gain, float eps, const View& out) = 0;
    virtual void do_linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) = 0;
    virtual void do_rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                                const View& cosines, const View& sines) = 0;
    virtual void do_rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                         const View& sines, const Batch& batch, const KvLayer& cache) = 0;
    // Of the sequences [first, end).
    virtual void do_attention(const View& q, const Batch& batch, std::int32_t first, std::int32_t end,
                              const KvLayer& cache, float scale, std::int32_t window, const View& out) = 0;
    virtual void do_router_top_k(const View& logits, const View& experts, const View& weights) = 0;
    virtual void do_moe_plan(const View& experts, const View& weights, const MoePlan& plan) = 0;
    virtual void do_moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                           const View& out) = 0;
    virtual void do_moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                             const View& out) = 0;
    virtual void do_logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                           const Weight& weight, const View& normed, const View& out, const View& finite) = 0;
};

}  // namespace ostal::engine
