#include "engine/backend/backend.h"

#include "base/check.h"

namespace ostal::engine {
namespace {

void check_matrix(const View& view, DType dtype, std::int64_t rows, std::int64_t columns) {
    CHECK(view.dtype == dtype);
    CHECK_EQ(view.rows(), rows);
    CHECK_EQ(view.columns(), columns);
    CHECK(!view.empty());
}

void check_f32(const View& view, std::int64_t rows, std::int64_t columns) {
    check_matrix(view, DType::kF32, rows, columns);
}

void check_weight(const Weight& weight, std::int32_t rank) {
    CHECK(!weight.empty());
    CHECK_EQ(weight.data.rank, rank);
    CHECK(weight.dtype() != DType::kI32);
    CHECK(weight.format == WeightFormat::kRows);
    CHECK(weight.data.contiguous());
}

void check_gain(const Weight& gain, std::int64_t columns) {
    check_weight(gain, 1);
    check_f32(gain.data, 1, columns);
}

void check_batch(const Batch& batch, const KvLayer& cache) {
    const std::size_t sequences = batch.first_row.size();
    CHECK_EQ(batch.positions.size(), batch.tokens.size());
    CHECK_EQ(batch.sequence_of_row.size(), batch.tokens.size());
    CHECK_EQ(batch.token_count.size(), sequences);
    CHECK_EQ(batch.cached_tokens.size(), sequences);
    CHECK_EQ(batch.block_tables.size(), sequences * static_cast<std::size_t>(batch.max_blocks));
    CHECK_LE(batch.decode_sequences, batch.sequences());
    CHECK_EQ(cache.keys.rank, 4);
    CHECK(cache.keys.dtype == DType::kF32 || cache.keys.dtype == DType::kBF16);
    CHECK(cache.values.dtype == cache.keys.dtype);
    CHECK_EQ(cache.values.rows(), cache.keys.rows());
    CHECK_EQ(cache.values.columns(), cache.keys.columns());
    CHECK_LE(cache.head_dim(), kMaxHeadDim);
    CHECK_EQ(cache.head_dim() % 2, 0);
    CHECK_LE(cache.block_tokens(), kMaxBlockTokens);
}

void check_plan(const MoePlan& plan, std::int64_t slots) {
    check_matrix(plan.slot_row, DType::kI32, 1, slots);
    check_f32(plan.slot_weight, 1, slots);
    CHECK(plan.offsets.dtype == DType::kI32);
    CHECK_EQ(plan.offsets.rank, 1);
    CHECK_GE(plan.offsets.columns(), 2);
    CHECK_LE(plan.offsets.columns() - 1, kMaxExperts);
}

void check_attention(const View& q, const Batch& batch, const KvLayer& cache, std::int32_t window,
                     const View& out) {
    CHECK_GE(window, 0);
    check_batch(batch, cache);
    check_f32(q, batch.rows(), q.columns());
    check_f32(out, q.rows(), q.columns());
    CHECK_EQ(q.columns() % (cache.kv_heads() * cache.head_dim()), 0);
}

}  // namespace

void Backend::embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) {
    check_weight(table, 2);
    check_f32(out, static_cast<std::int64_t>(tokens.size()), table.data.columns());
    do_embed(tokens, table, out);
}

void Backend::rms_norm(const View& x, const Weight& gain, float eps, const View& out) {
    check_gain(gain, x.columns());
    check_f32(x, x.rows(), x.columns());
    check_f32(out, x.rows(), x.columns());
    do_rms_norm(x, gain, eps, out);
}

void Backend::linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) {
    check_weight(weight, 2);
    check_f32(x, x.rows(), weight.data.columns());
    check_f32(out, x.rows(), weight.data.rows());
    do_linear(x, weight, epilogue, out);
}

void Backend::rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                          const View& cosines, const View& sines) {
    const auto rows = static_cast<std::int64_t>(positions.size());
    const auto pairs = static_cast<std::int64_t>(frequencies.size());
    check_f32(cosines, rows, pairs);
    check_f32(sines, rows, pairs);
    do_rope_angles(positions, frequencies, cosines, sines);
}

void Backend::rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                   const View& sines, const Batch& batch, const KvLayer& cache) {
    check_batch(batch, cache);
    const std::int64_t rows = batch.rows();
    const std::int64_t kv_columns = cache.kv_heads() * cache.head_dim();
    check_f32(q, rows, q.columns());
    CHECK_EQ(q.columns() % kv_columns, 0);
    check_f32(k, rows, kv_columns);
    check_f32(v, rows, kv_columns);
    check_f32(cosines, rows, cache.head_dim() / 2);
    check_f32(sines, rows, cache.head_dim() / 2);
    for (std::size_t s = 0; s < batch.first_row.size(); ++s) {
        const std::int64_t keys = std::int64_t{batch.cached_tokens[s]} + batch.token_count[s];
        const std::int64_t blocks = (keys + cache.block_tokens() - 1) / cache.block_tokens();
        CHECK_LE(blocks, batch.max_blocks);
        for (std::int64_t b = 0; b < blocks; ++b) {
            const std::int32_t block = batch.block_tables[s * static_cast<std::size_t>(batch.max_blocks) +
                                                          static_cast<std::size_t>(b)];
            CHECK(block >= 0 && block < cache.blocks());
        }
    }
    do_rope_and_cache_write(q, k, v, cosines, sines, batch, cache);
}

void Backend::attention_decode(const View& q, const Batch& batch, const KvLayer& cache, float scale,
                               std::int32_t window, const View& out) {
    check_attention(q, batch, cache, window, out);
    if (batch.decode_sequences > 0)
        do_attention(q, batch, 0, batch.decode_sequences, cache, scale, window, out);
}

void Backend::attention_prefill(const View& q, const Batch& batch, const KvLayer& cache, float scale,
                                std::int32_t window, const View& out) {
    check_attention(q, batch, cache, window, out);
    const auto sequences = static_cast<std::int32_t>(batch.sequences());
    if (batch.decode_sequences < sequences) {
        do_attention(q, batch, batch.decode_sequences, sequences, cache, scale, window, out);
    }
}

void Backend::router_top_k(const View& logits, const View& experts, const View& weights) {
    check_f32(logits, logits.rows(), logits.columns());
    check_matrix(experts, DType::kI32, logits.rows(), experts.columns());
    check_f32(weights, logits.rows(), experts.columns());
    CHECK(experts.columns() >= 1 && experts.columns() <= logits.columns());
    CHECK_LE(logits.columns(), kMaxExperts);
    do_router_top_k(logits, experts, weights);
}

void Backend::moe_plan(const View& experts, const View& weights, const MoePlan& plan) {
    check_matrix(experts, DType::kI32, experts.rows(), experts.columns());
    check_f32(weights, experts.rows(), experts.columns());
    CHECK(experts.contiguous() && weights.contiguous());
    check_plan(plan, experts.rows() * experts.columns());
    do_moe_plan(experts, weights, plan);
}

void Backend::moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                     const View& out) {
    check_weight(w1, 3);
    check_weight(w3, 3);
    for (int axis = 0; axis < 3; ++axis) CHECK_EQ(w1.data.shape[axis], w3.data.shape[axis]);
    CHECK_EQ(plan.offsets.columns(), w1.data.shape[0] + 1);
    check_f32(x, x.rows(), w1.data.columns());
    check_f32(out, plan.slot_row.columns(), w1.data.shape[1]);
    check_plan(plan, out.rows());
    do_moe_up(x, w1, w3, plan, out);
}

void Backend::moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                       const View& out) {
    check_weight(w2, 3);
    CHECK_EQ(plan.offsets.columns(), w2.data.shape[0] + 1);
    check_f32(h, plan.slot_row.columns(), w2.data.columns());
    check_f32(out, out.rows(), w2.data.shape[1]);
    check_plan(plan, h.rows());
    do_moe_down(h, w2, plan, epilogue, out);
}

void Backend::logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                     const Weight& weight, const View& normed, const View& out, const View& finite) {
    const auto count = static_cast<std::int64_t>(rows.size());
    check_f32(x, x.rows(), weight.data.columns());
    check_gain(norm, x.columns());
    check_weight(weight, 2);
    check_f32(normed, count, x.columns());
    check_f32(out, count, weight.data.rows());
    check_matrix(finite, DType::kI32, 1, count);
    for (const std::int32_t row : rows) CHECK(row >= 0 && row < x.rows());
    do_logits(x, rows, norm, eps, weight, normed, out, finite);
}

}  // namespace ostal::engine
