#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/thread.h"
#include "engine/backend/cpu/isa.h"
#include "engine/backend/cpu/kernels.h"
#include "engine/backend/cpu/thread_team.h"

namespace ostal::engine {
namespace {

using cpu::Kernels;
using cpu::Slice;

std::int64_t stride_of(const View& view) {
    return view.row_stride_bytes / static_cast<std::int64_t>(sizeof(float));
}

// Below so many multiplications a job is done before the team has gathered.
constexpr std::int64_t kWorthSharing = 16384;
// Weight rows are dealt out in these pieces: 64 bytes of output, so that no two members write one cache line.
constexpr std::int64_t kRowGrain = 16;
// Tokens of a prefill chunk in one attention task.
constexpr std::int32_t kAttentionTokens = 8;

class CpuBackend final : public Backend {
public:
    CpuBackend(const Kernels& kernels, std::int32_t threads, std::vector<int> cpus)
        : kernels_(kernels), team_(threads, std::move(cpus)) {}

    std::string_view name() const override { return "cpu"; }
    std::string_view isa() const override { return kernels_.name; }
    void attach_thread() override { team_.pin_caller(); }

protected:
    void do_embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) override;
    void do_rms_norm(const View& x, const Weight& gain, float eps, const View& out) override;
    void do_linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) override;
    void do_rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                        const View& cosines, const View& sines) override;
    void do_rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                 const View& sines, const Batch& batch, const KvLayer& cache) override;
    void do_attention(const View& q, const Batch& batch, std::int32_t first, std::int32_t end,
                      const KvLayer& cache, float scale, std::int32_t window, const View& out) override;
    void do_router_top_k(const View& logits, const View& experts, const View& weights) override;
    void do_moe_plan(const View& experts, const View& weights, const MoePlan& plan) override;
    void do_moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                   const View& out) override;
    void do_moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                     const View& out) override;
    void do_logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                   const Weight& weight, const View& normed, const View& out, const View& finite) override;

private:
    // body(begin, end) over slices of [0, count) that are multiples of `grain`, by the team when `work`
    // multiplications are worth it.
    template <typename Body>
    void share(std::int64_t count, std::int64_t grain, std::int64_t work, const Body& body) {
        if (work < kWorthSharing || team_.size() == 1) return body(0, count);
        team_.run([&](std::int32_t member) {
            const Slice slice = cpu::slice_of(count, grain, member, team_.size());
            if (slice.begin < slice.end) body(slice.begin, slice.end);
        });
    }
    // The product with the rows [begin, end) of a matrix; x, tokens and rows of args are set.
    void multiply_rows(const Weight& matrix, std::int64_t begin, std::int64_t end, const View& out,
                       cpu::MultiplyArgs args) const {
        args.weight = matrix.data.row<const std::uint8_t>(begin);
        args.row_stride_bytes = matrix.data.row_stride_bytes;
        args.rows = end - begin;
        args.k = matrix.data.columns();
        args.out = out.as<float>() + begin;
        args.out_stride = stride_of(out);
        kernels_.multiply[cpu::format_of(matrix.dtype())](args);
    }

    const Kernels& kernels_;
    cpu::ThreadTeam team_;
};

void CpuBackend::do_embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) {
    const auto dequantise = kernels_.dequantise[cpu::format_of(table.dtype())];
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        CHECK(tokens[t] >= 0 && tokens[t] < table.data.shape[0]);
        dequantise(table.data.row<const std::uint8_t>(tokens[t]), table.data.columns(),
                   out.row<float>(static_cast<std::int64_t>(t)));
    }
}

void CpuBackend::do_rms_norm(const View& x, const Weight& gain, float eps, const View& out) {
    const std::int64_t columns = x.columns();
    share(x.rows(), 1, x.rows() * columns, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
            kernels_.rms_norm(x.row<float>(t), gain.data.as<float>(), columns, eps, out.row<float>(t));
        }
    });
}

void CpuBackend::do_linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) {
    cpu::MultiplyArgs args{};
    args.x = x.as<float>();
    args.x_stride = stride_of(x);
    args.tokens = x.rows();
    args.mode = epilogue == Epilogue::kAdd ? cpu::kMultiplyAdd : cpu::kMultiplyStore;
    const std::int64_t rows = weight.data.rows();
    share(rows, kRowGrain, rows * weight.data.columns() * args.tokens,
          [&](std::int64_t begin, std::int64_t end) { multiply_rows(weight, begin, end, out, args); });
}

void CpuBackend::do_rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                                const View& cosines, const View& sines) {
    constexpr std::int64_t kCostOfSine = 64;  // in multiplications
    const auto rows = static_cast<std::int64_t>(positions.size());
    const auto pairs = static_cast<std::int64_t>(frequencies.size());
    share(rows, 1, rows * pairs * kCostOfSine, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
            for (std::int64_t i = 0; i < pairs; ++i) {
                const double angle =
                    positions[static_cast<std::size_t>(t)] * frequencies[static_cast<std::size_t>(i)];
                cosines.row<float>(t)[i] = static_cast<float>(std::cos(angle));
                sines.row<float>(t)[i] = static_cast<float>(std::sin(angle));
            }
        }
    });
}

void CpuBackend::do_rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                         const View& sines, const Batch& batch, const KvLayer& cache) {
    const std::int64_t dim = cache.head_dim();
    const std::int64_t block_tokens = cache.block_tokens();
    const auto write = [&](const float* values, const View& to, std::int64_t cache_row) {
        if (to.dtype == DType::kF32) {
            std::memcpy(to.row<float>(cache_row), values, static_cast<std::size_t>(dim) * sizeof(float));
        } else {
            kernels_.to_bf16(values, dim, to.row<std::uint16_t>(cache_row));
        }
    };
    share(q.rows(), 1, q.rows() * (q.columns() + 2 * k.columns()), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t) {
            const auto row = static_cast<std::size_t>(t);
            const float* c = cosines.row<float>(t);
            const float* s = sines.row<float>(t);
            kernels_.rope(q.row<float>(t), c, s, q.columns() / dim, dim / 2, q.row<float>(t));

            const std::int64_t position = batch.positions[row];
            const std::int64_t entry =
                std::int64_t{batch.sequence_of_row[row]} * batch.max_blocks + position / block_tokens;
            const std::int64_t block = batch.block_tables[static_cast<std::size_t>(entry)];
            for (std::int64_t head = 0; head < cache.kv_heads(); ++head) {
                const std::int64_t cache_row =
                    (block * cache.kv_heads() + head) * block_tokens + position % block_tokens;
                float rotated[kMaxHeadDim];
                kernels_.rope(k.row<float>(t) + head * dim, c, s, 1, dim / 2, rotated);
                write(rotated, cache.keys, cache_row);
                write(v.row<float>(t) + head * dim, cache.values, cache_row);
            }
        }
    });
}

void CpuBackend::do_attention(const View& q, const Batch& batch, std::int32_t first, std::int32_t end,
                              const KvLayer& cache, float scale, std::int32_t window, const View& out) {
    const std::int64_t dim = cache.head_dim();
    const std::int64_t kv_heads = cache.kv_heads();
    const std::int64_t head_bytes = cache.block_tokens() * cache.keys.row_stride_bytes;
    const std::int64_t group = q.columns() / dim / kv_heads;
    const auto attention = kernels_.attention[cpu::format_of(cache.keys.dtype)];

    // Tasks are dealt out in turn: later tiles of a prompt see more keys.
    team_.run([&](std::int32_t member) {
        std::int64_t task = 0;
        for (std::int32_t sequence = first; sequence < end; ++sequence) {
            const auto s = static_cast<std::size_t>(sequence);
            for (std::int32_t token = 0; token < batch.token_count[s]; token += kAttentionTokens) {
                const std::int64_t row = batch.first_row[s] + token;
                for (std::int64_t head = 0; head < kv_heads; ++head) {
                    if (task++ % team_.size() != member) continue;
                    cpu::AttentionArgs args{};
                    args.q = q.row<float>(row) + head * group * dim;
                    args.q_stride = stride_of(q);
                    args.out = out.row<float>(row) + head * group * dim;
                    args.out_stride = stride_of(out);
                    args.tokens = std::min(kAttentionTokens, batch.token_count[s] - token);
                    args.group = static_cast<std::int32_t>(group);
                    args.first_position = batch.cached_tokens[s] + token;
                    args.window = window;
                    args.head_dim = static_cast<std::int32_t>(dim);
                    args.block_tokens = static_cast<std::int32_t>(cache.block_tokens());
                    args.keys = static_cast<const char*>(cache.keys.data) + head * head_bytes;
                    args.values = static_cast<const char*>(cache.values.data) + head * head_bytes;
                    args.block_stride_bytes = kv_heads * head_bytes;
                    args.block_table = batch.block_tables.data() + sequence * std::int64_t{batch.max_blocks};
                    args.scale = scale;
                    attention(args);
                }
            }
        }
    });
}

void CpuBackend::do_router_top_k(const View& logits, const View& experts, const View& weights) {
    const std::int64_t active = experts.columns();
    for (std::int64_t t = 0; t < logits.rows(); ++t) {
        const float* logit = logits.row<float>(t);
        auto* chosen = experts.row<std::int32_t>(t);
        float* weight = weights.row<float>(t);
        bool taken[kMaxExperts] = {};
        for (std::int64_t a = 0; a < active; ++a) {
            std::int64_t best = -1;
            for (std::int64_t e = 0; e < logits.columns(); ++e) {
                if (!taken[e] && (best < 0 || logit[e] > logit[best])) best = e;
            }
            taken[best] = true;
            chosen[a] = static_cast<std::int32_t>(best);
        }
        float sum = 0.0F;
        for (std::int64_t a = 0; a < active; ++a) {
            weight[a] = std::exp(logit[chosen[a]] - logit[chosen[0]]);
            sum += weight[a];
        }
        for (std::int64_t a = 0; a < active; ++a) weight[a] /= sum;
    }
}

void CpuBackend::do_moe_plan(const View& experts, const View& weights, const MoePlan& plan) {
    const std::int64_t count = plan.offsets.columns() - 1;
    const std::int64_t active = experts.columns();
    const std::int64_t slots = experts.rows() * active;
    const auto* chosen = experts.as<std::int32_t>();
    auto* offsets = plan.offsets.as<std::int32_t>();
    std::fill(offsets, offsets + count + 1, 0);
    for (std::int64_t i = 0; i < slots; ++i) {
        CHECK(chosen[i] >= 0 && chosen[i] < count);
        ++offsets[chosen[i] + 1];
    }
    for (std::int64_t e = 0; e < count; ++e) offsets[e + 1] += offsets[e];
    std::int32_t next[kMaxExperts];
    std::copy(offsets, offsets + count, next);
    for (std::int64_t i = 0; i < slots; ++i) {
        const std::int32_t slot = next[chosen[i]]++;
        plan.slot_row.as<std::int32_t>()[slot] = static_cast<std::int32_t>(i / active);
        plan.slot_weight.as<float>()[slot] = weights.as<float>()[i];
    }
}

void CpuBackend::do_moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                           const View& out) {
    const auto* offsets = plan.offsets.as<std::int32_t>();
    const std::int64_t rows = w1.data.shape[1];
    const std::int64_t work = 2 * rows * x.columns() * out.rows();
    share(rows, kRowGrain, work, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t e = 0; e < w1.data.shape[0]; ++e) {
            if (offsets[e] == offsets[e + 1]) continue;
            cpu::MultiplyArgs args{};
            args.x = x.as<float>();
            args.x_stride = stride_of(x);
            args.x_rows = plan.slot_row.as<std::int32_t>() + offsets[e];
            args.tokens = offsets[e + 1] - offsets[e];
            const View slots = out.slice_rows(offsets[e], args.tokens);
            args.mode = cpu::kMultiplyStore;
            multiply_rows(w1.expert(e), begin, end, slots, args);
            args.mode = cpu::kMultiplyGate;
            multiply_rows(w3.expert(e), begin, end, slots, args);
        }
    });
}

void CpuBackend::do_moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                             const View& out) {
    const auto* offsets = plan.offsets.as<std::int32_t>();
    const std::int64_t rows = w2.data.shape[1];
    share(rows, kRowGrain, rows * h.columns() * h.rows(), [&](std::int64_t begin, std::int64_t end) {
        if (epilogue == Epilogue::kStore) {
            for (std::int64_t t = 0; t < out.rows(); ++t) {
                std::fill(out.row<float>(t) + begin, out.row<float>(t) + end, 0.0F);
            }
        }
        for (std::int64_t e = 0; e < w2.data.shape[0]; ++e) {
            if (offsets[e] == offsets[e + 1]) continue;
            cpu::MultiplyArgs args{};
            args.x = h.row<float>(offsets[e]);
            args.x_stride = stride_of(h);
            args.tokens = offsets[e + 1] - offsets[e];
            args.scale = plan.slot_weight.as<float>() + offsets[e];
            args.out_rows = plan.slot_row.as<std::int32_t>() + offsets[e];
            args.mode = cpu::kMultiplyAdd;
            multiply_rows(w2.expert(e), begin, end, out, args);
        }
    });
}

void CpuBackend::do_logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                           const Weight& weight, const View& normed, const View& out, const View& finite) {
    const auto count = static_cast<std::int64_t>(rows.size());
    for (std::int64_t l = 0; l < count; ++l) {
        kernels_.rms_norm(x.row<float>(rows[static_cast<std::size_t>(l)]), norm.data.as<float>(), x.columns(),
                          eps, normed.row<float>(l));
    }
    do_linear(normed, weight, Epilogue::kStore, out);
    share(count, 1, out.rows() * out.columns(), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t l = begin; l < end; ++l) {
            finite.as<std::int32_t>()[l] = kernels_.all_finite(out.row<float>(l), out.columns());
        }
    });
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuBackendOptions& options) {
    OSTAL_TRY(const Kernels* kernels, cpu::select_kernels(options.isa));
    std::vector<int> cpus = physical_cpus();
    const std::int32_t threads =
        options.threads > 0 ? options.threads : static_cast<std::int32_t>(cpus.size());
    if (options.pin_threads) {
        cpus.resize(std::min(cpus.size(), static_cast<std::size_t>(threads)));
    } else {
        cpus.clear();
    }
    return std::make_unique<CpuBackend>(*kernels, threads, std::move(cpus));
}

}  // namespace ostal::engine
