#include "engine/model/mixtral.h"

#include <algorithm>

#include "base/check.h"

namespace ostal::engine {
namespace {

std::int64_t experts_of(const ModelConfig& config) { return std::max(config.experts, 1); }
std::int64_t active_of(const ModelConfig& config) {
    return config.experts > 0 ? config.experts_per_token : 1;
}

// The views of a Scratch from an ArenaPlan (sizes) or an Arena (memory).
template <typename Allocator>
void place(const ModelConfig& c, Allocator& from, Scratch& s) {
    const std::int64_t rows = s.max_rows;
    const std::int64_t slots = rows * active_of(c);
    const auto f32 = [&](std::int64_t count, std::int64_t columns) {
        return from.allocate(DType::kF32, {count, columns});
    };
    s.x = f32(rows, c.dim);
    s.normed = f32(rows, c.dim);
    s.q = f32(rows, std::int64_t{c.heads} * c.head_dim);
    s.k = f32(rows, std::int64_t{c.kv_heads} * c.head_dim);
    s.v = f32(rows, std::int64_t{c.kv_heads} * c.head_dim);
    s.attention = f32(rows, std::int64_t{c.heads} * c.head_dim);
    s.cosines = f32(rows, c.head_dim / 2);
    s.sines = f32(rows, c.head_dim / 2);
    s.router_logits = f32(rows, experts_of(c));
    s.experts = from.allocate(DType::kI32, {rows, active_of(c)});
    s.expert_weights = f32(rows, active_of(c));
    s.plan_offsets = from.allocate(DType::kI32, {experts_of(c) + 1});
    s.plan_slot_row = from.allocate(DType::kI32, {slots});
    s.plan_slot_weight = from.allocate(DType::kF32, {slots});
    s.hidden = f32(slots, c.ffn);
    s.logits_normed = f32(s.max_logit_rows, c.dim);
    s.logits = f32(s.max_logit_rows, c.vocab);
    s.finite = from.allocate(DType::kI32, {s.max_logit_rows});
}

}  // namespace

Result<Scratch> Scratch::create(const ModelConfig& config, std::int32_t max_rows,
                                std::int32_t max_logit_rows) {
    CHECK_GE(max_rows, 1);
    CHECK_GE(max_logit_rows, 1);
    Scratch scratch;
    scratch.max_rows = max_rows;
    scratch.max_logit_rows = max_logit_rows;
    ArenaPlan plan;
    place(config, plan, scratch);
    OSTAL_TRY(scratch.arena, Arena::create("the activations", plan.bytes()));
    place(config, scratch.arena, scratch);
    // What a dense model's plan is made from in every step; a router writes over it.
    auto* ones = scratch.expert_weights.as<float>();
    std::fill(ones, ones + scratch.expert_weights.rows() * scratch.expert_weights.columns(), 1.0F);
    return scratch;
}

StepOutput forward(Backend& backend, Communicator& comm, const Weights& weights, const Batch& batch,
                   KvCache& cache, Scratch& scratch) {
    const ModelConfig& config = weights.config;
    const std::int64_t tokens = batch.rows();
    const auto wanted = static_cast<std::int64_t>(batch.logit_rows.size());
    CHECK(tokens >= 1 && tokens <= scratch.max_rows);
    CHECK_LE(wanted, scratch.max_logit_rows);

    const View x = scratch.x.slice_rows(0, tokens);
    const View normed = scratch.normed.slice_rows(0, tokens);
    const View q = scratch.q.slice_rows(0, tokens);
    const View k = scratch.k.slice_rows(0, tokens);
    const View v = scratch.v.slice_rows(0, tokens);
    const View attention = scratch.attention.slice_rows(0, tokens);
    const View cosines = scratch.cosines.slice_rows(0, tokens);
    const View sines = scratch.sines.slice_rows(0, tokens);
    const View router_logits = scratch.router_logits.slice_rows(0, tokens);
    const View experts = scratch.experts.slice_rows(0, tokens);
    const View expert_weights = scratch.expert_weights.slice_rows(0, tokens);
    const std::int64_t slots = tokens * experts.columns();
    const MoePlan plan{scratch.plan_offsets, scratch.plan_slot_row.slice_columns(0, slots),
                       scratch.plan_slot_weight.slice_columns(0, slots)};
    const View hidden = scratch.hidden.slice_rows(0, slots);

    const float scale = weights.attention_scale;
    // x is whole on every rank: the first adds its part onto it, the others bring theirs alone to the sum.
    const Epilogue residual = comm.rank() == 0 ? Epilogue::kAdd : Epilogue::kStore;

    backend.embed(batch.tokens, weights.tok_embeddings, x);
    backend.rope_angles(batch.positions, weights.rope_frequencies, cosines, sines);

    for (std::int32_t i = 0; i < config.layers; ++i) {
        const LayerWeights& layer = weights.layers[static_cast<std::size_t>(i)];
        const KvLayer& kv = cache.layer(i);

        // x = x + wo attention(norm(x))
        backend.rms_norm(x, layer.attention_norm, config.norm_eps, normed);
        backend.linear(normed, layer.wq, Epilogue::kStore, q);
        backend.linear(normed, layer.wk, Epilogue::kStore, k);
        backend.linear(normed, layer.wv, Epilogue::kStore, v);
        backend.rope_and_cache_write(q, k, v, cosines, sines, batch, kv);
        backend.attention_decode(q, batch, kv, scale, config.window(i), attention);
        backend.attention_prefill(q, batch, kv, scale, config.window(i), attention);
        backend.linear(attention, layer.wo, residual, x);
        comm.all_reduce(x);

        // x = x + sum over the chosen experts of weight * w2 (silu(w1 norm(x)) * w3 norm(x))
        backend.rms_norm(x, layer.ffn_norm, config.norm_eps, normed);
        if (!layer.gate.empty()) {
            backend.linear(normed, layer.gate, Epilogue::kStore, router_logits);
            backend.router_top_k(router_logits, experts, expert_weights);
        }
        backend.moe_plan(experts, expert_weights, plan);
        backend.moe_up(normed, layer.w1, layer.w3, plan, hidden);
        backend.moe_down(hidden, layer.w2, plan, residual, x);
        comm.all_reduce(x);
    }

    StepOutput out{{scratch.logits.slice_rows(0, wanted), scratch.finite.slice_columns(0, wanted)}, {}};
    if (wanted > 0) {
        backend.logits(x, batch.logit_rows, weights.norm, config.norm_eps, weights.output,
                       scratch.logits_normed.slice_rows(0, wanted), out.logits.values, out.logits.finite);
    }
    if (batch.wants_hidden) {
        // Of all rows, into the buffer of the layers' norms: beside a layer this costs nothing.
        backend.rms_norm(x, weights.norm, config.norm_eps, normed);
        out.hidden = normed;
    }
    return out;
}

}  // namespace ostal::engine
