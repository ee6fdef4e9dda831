#include "engine/backend/check/check_backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/core/float_types.h"

namespace ostal::engine {
namespace {

// Rows without the gaps between them.
Bytes copy_of(const View& view) {
    Bytes bytes;
    const std::int64_t row = row_bytes(view.dtype, view.columns());
    for (std::int64_t r = 0; r < view.rows(); ++r) {
        const auto* from = static_cast<const std::uint8_t*>(view.data) + r * view.row_stride_bytes;
        bytes.insert(bytes.end(), from, from + row);
    }
    return bytes;
}

void restore(const View& view, const Bytes& bytes) {
    const std::int64_t row = row_bytes(view.dtype, view.columns());
    for (std::int64_t r = 0; r < view.rows(); ++r) {
        std::memcpy(static_cast<std::uint8_t*>(view.data) + r * view.row_stride_bytes, bytes.data() + r * row,
                    static_cast<std::size_t>(row));
    }
}

double value_at(DType dtype, ByteSpan bytes, std::int64_t index) {
    const std::uint8_t* at = bytes.data() + index * block_bytes(dtype);
    switch (dtype) {
        case DType::kF32: return static_cast<double>(std::bit_cast<float>(load_le<std::uint32_t>(at)));
        case DType::kI32: return std::bit_cast<std::int32_t>(load_le<std::uint32_t>(at));
        case DType::kBF16: return static_cast<double>(f32_from_bf16(load_le<std::uint16_t>(at)));
        default: CHECK_UNREACHABLE("an output of this type");
    }
}

}  // namespace

std::string Difference::to_string() const {
    return operation + " (operation " + std::to_string(call) + ") at " + std::to_string(index) +
           ": expected " + std::to_string(expected) + ", got " + std::to_string(got);
}

void CheckBackend::compare_output(std::string_view name, const View& got, ByteSpan expected) {
    const Bytes bytes = copy_of(got);
    const std::int64_t count = got.rows() * got.columns();
    double largest = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        const double magnitude = std::fabs(value_at(got.dtype, expected, i));
        if (std::isfinite(magnitude)) largest = std::max(largest, magnitude);
    }
    // A cache of bf16 keeps 8 bits: two f32 values that nearly agree may round one step apart.
    const double relative = got.dtype == DType::kBF16 ? 0x1p-7 : tolerance_.relative;
    const double allowed = got.dtype == DType::kI32 ? 0.0 : tolerance_.absolute + relative * largest;
    for (std::int64_t i = 0; i < count; ++i) {
        const double a = value_at(got.dtype, expected, i);
        const double b = value_at(got.dtype, bytes, i);
        if (a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= allowed) continue;
        difference_ = Difference{std::string(name), calls_, i, a, b};
        return;
    }
}

template <typename Operation>
void CheckBackend::compare(std::string_view name, std::initializer_list<View> outputs,
                           const Operation& operation) {
    std::vector<Bytes> before;
    for (const View& view : outputs) before.push_back(copy_of(view));
    operation(reference_);
    std::vector<Bytes> expected;
    for (const View& view : outputs) expected.push_back(copy_of(view));
    std::size_t next = 0;
    for (const View& view : outputs) restore(view, before[next++]);
    operation(subject_);
    next = 0;
    for (const View& view : outputs) {
        if (!difference_) compare_output(name, view, expected[next]);
        ++next;
    }
    ++calls_;
}

void CheckBackend::attach_thread() {
    reference_.attach_thread();
    subject_.attach_thread();
}

void CheckBackend::do_embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) {
    compare("embed", {out}, [&](Backend& b) { b.embed(tokens, table, out); });
}

void CheckBackend::do_rms_norm(const View& x, const Weight& gain, float eps, const View& out) {
    compare("rms_norm", {out}, [&](Backend& b) { b.rms_norm(x, gain, eps, out); });
}

void CheckBackend::do_linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) {
    compare("linear", {out}, [&](Backend& b) { b.linear(x, weight, epilogue, out); });
}

void CheckBackend::do_rope_angles(std::span<const std::int32_t> positions,
                                  std::span<const double> frequencies, const View& cosines,
                                  const View& sines) {
    compare("rope_angles", {cosines, sines},
            [&](Backend& b) { b.rope_angles(positions, frequencies, cosines, sines); });
}

void CheckBackend::do_rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                           const View& sines, const Batch& batch, const KvLayer& cache) {
    compare("rope_and_cache_write", {q, cache.keys, cache.values},
            [&](Backend& b) { b.rope_and_cache_write(q, k, v, cosines, sines, batch, cache); });
}

void CheckBackend::do_attention(const View& q, const Batch& batch, std::int32_t first, std::int32_t end,
                                const KvLayer& cache, float scale, std::int32_t window, const View& out) {
    // Backend::attention_decode serves [0, decode_sequences), attention_prefill the rest.
    if (end == batch.decode_sequences && first == 0) {
        compare("attention_decode", {out},
                [&](Backend& b) { b.attention_decode(q, batch, cache, scale, window, out); });
    } else {
        compare("attention_prefill", {out},
                [&](Backend& b) { b.attention_prefill(q, batch, cache, scale, window, out); });
    }
}

void CheckBackend::do_router_top_k(const View& logits, const View& experts, const View& weights) {
    compare("router_top_k", {experts, weights},
            [&](Backend& b) { b.router_top_k(logits, experts, weights); });
}

void CheckBackend::do_moe_plan(const View& experts, const View& weights, const MoePlan& plan) {
    compare("moe_plan", {plan.offsets, plan.slot_row, plan.slot_weight},
            [&](Backend& b) { b.moe_plan(experts, weights, plan); });
}

void CheckBackend::do_moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                             const View& out) {
    compare("moe_up", {out}, [&](Backend& b) { b.moe_up(x, w1, w3, plan, out); });
}

void CheckBackend::do_moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                               const View& out) {
    compare("moe_down", {out}, [&](Backend& b) { b.moe_down(h, w2, plan, epilogue, out); });
}

void CheckBackend::do_logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                             const Weight& weight, const View& normed, const View& out, const View& finite) {
    compare("logits", {normed, out, finite},
            [&](Backend& b) { b.logits(x, rows, norm, eps, weight, normed, out, finite); });
}

}  // namespace ostal::engine
