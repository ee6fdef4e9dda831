// Tensors of the files into the arena, under the names of the papers.
#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/core/float_types.h"
#include "engine/model/mixtral.h"
#include "engine/model/rope.h"

namespace ostal::engine {
namespace {

constexpr float kLeastDivisor = 1e-3F;
constexpr float kMaxDivisor = 1e6F;

// Where the rows of each tensor of the files go.
using Destinations = std::unordered_map<const TensorInfo*, View>;

// Walks the model once with an ArenaPlan (sizes) and once with the Arena (memory).
template <typename Allocator>
class Binder {
public:
    Binder(const ModelFiles& files, Allocator& from) : files_(files), from_(from) {}

    Status bind(Weights& weights) {
        const ModelConfig& config = files_.config();
        OSTAL_TRYV(matrix("model.embed_tokens.weight", weights.tok_embeddings));
        weights.layers.assign(static_cast<std::size_t>(config.layers), {});
        for (std::int32_t i = 0; i < config.layers; ++i) {
            OSTAL_TRYV(layer("model.layers." + std::to_string(i) + ".",
                             weights.layers[static_cast<std::size_t>(i)]));
        }
        OSTAL_TRYV(gain("model.norm.weight", weights.norm));
        if (config.tied_embeddings) {
            weights.output = weights.tok_embeddings;
            return {};
        }
        return matrix("lm_head.weight", weights.output);
    }

    Destinations take_destinations() { return std::move(destinations_); }

private:
    Status layer(const std::string& prefix, LayerWeights& to) {
        OSTAL_TRYV(gain(prefix + "input_layernorm.weight", to.attention_norm));
        OSTAL_TRYV(matrix(prefix + "self_attn.q_proj.weight", to.wq));
        OSTAL_TRYV(matrix(prefix + "self_attn.k_proj.weight", to.wk));
        OSTAL_TRYV(matrix(prefix + "self_attn.v_proj.weight", to.wv));
        OSTAL_TRYV(matrix(prefix + "self_attn.o_proj.weight", to.wo));
        OSTAL_TRYV(gain(prefix + "post_attention_layernorm.weight", to.ffn_norm));
        if (files_.config().experts == 0) {
            OSTAL_TRYV(stack({prefix + "mlp.gate_proj.weight"}, to.w1));
            OSTAL_TRYV(stack({prefix + "mlp.down_proj.weight"}, to.w2));
            return stack({prefix + "mlp.up_proj.weight"}, to.w3);
        }
        OSTAL_TRYV(matrix(prefix + "block_sparse_moe.gate.weight", to.gate));
        const std::pair<const char*, Weight*> matrices[] = {{"w1", &to.w1}, {"w2", &to.w2}, {"w3", &to.w3}};
        for (const auto& [name, weight] : matrices) {
            std::vector<std::string> experts;
            for (std::int32_t e = 0; e < files_.config().experts; ++e) {
                experts.push_back(prefix + "block_sparse_moe.experts." + std::to_string(e) + "." + name +
                                  ".weight");
            }
            OSTAL_TRYV(stack(experts, *weight));
        }
        return {};
    }

    Result<const TensorInfo*> find(const std::string& name) const {
        const TensorInfo* info = files_.find(name);
        if (info == nullptr) return fail(Code::kInvalidArgument, "the model has no tensor " + name);
        return info;
    }

    Status matrix(const std::string& name, Weight& to) {
        OSTAL_TRY(const TensorInfo* info, find(name));
        to.data = from_.allocate(info->dtype, {info->rows(), info->columns()});
        destinations_[info] = to.data;
        return {};
    }

    // Norm gains are computed with as f32, whatever the file holds.
    Status gain(const std::string& name, Weight& to) {
        OSTAL_TRY(const TensorInfo* info, find(name));
        if (is_quantised(info->dtype)) {
            return fail(Code::kUnsupported, name + " is " + std::string(dtype_name(info->dtype)) +
                                                "; a norm is read as f32, f16 or bf16");
        }
        to.data = from_.allocate(DType::kF32, {info->columns()});
        destinations_[info] = to.data;
        return {};
    }

    Status stack(const std::vector<std::string>& names, Weight& to) {
        OSTAL_TRY(const TensorInfo* first, find(names[0]));
        const auto count = static_cast<std::int64_t>(names.size());
        to.data = from_.allocate(first->dtype, {count, first->rows(), first->columns()});
        for (std::int64_t e = 0; e < count; ++e) {
            const std::string& name = names[static_cast<std::size_t>(e)];
            OSTAL_TRY(const TensorInfo* info, find(name));
            if (info->dtype != first->dtype || info->shape != first->shape) {
                return fail(Code::kUnsupported, name + " has another type or shape than " + names[0]);
            }
            destinations_[info] = to.expert(e).data;
        }
        return {};
    }

    const ModelFiles& files_;
    Allocator& from_;
    Destinations destinations_;
};

void copy_piece(const TensorPiece& piece, const View& to) {
    if (piece.tensor.dtype == to.dtype) {
        auto* out = static_cast<std::uint8_t*>(to.data) + piece.first_row * to.row_stride_bytes;
        std::memcpy(out, piece.bytes.data(), piece.bytes.size());
        return;
    }
    CHECK(to.dtype == DType::kF32 && to.rank == 1);
    float* out = to.as<float>();
    for (std::size_t i = 0; 2 * i + 1 < piece.bytes.size(); ++i) {
        const auto bits = load_le<std::uint16_t>(piece.bytes.data() + 2 * i);
        out[i] = piece.tensor.dtype == DType::kBF16 ? f32_from_bf16(bits) : f32_from_f16(bits);
    }
}

// The divisors of RoPE's frequencies; none for a model without them. kIntegrity when one is no divisor.
Result<std::vector<float>> read_divisors(const WeightSource& source, const ModelFiles& files) {
    const TensorInfo* info = files.find("rope_freqs.weight");
    if (info == nullptr) return std::vector<float>();
    Bytes bytes(static_cast<std::size_t>(info->bytes));
    OSTAL_TRYV(read_tensor(source, *info, bytes));
    std::vector<float> divisors(bytes.size() / sizeof(float));
    std::memcpy(divisors.data(), bytes.data(), bytes.size());
    for (const float divisor : divisors) {
        if (divisor >= kLeastDivisor && divisor <= kMaxDivisor) continue;
        return fail(Code::kIntegrity,
                    "rope_freqs.weight holds " + std::to_string(divisor) + ", which divides no frequency");
    }
    return divisors;
}

}  // namespace

Result<Weights> load_weights(const WeightSource& source, const ModelFiles& files, std::int32_t threads) {
    Weights weights;
    weights.config = files.config();
    if (weights.config.head_dim > kMaxHeadDim) {
        return fail(Code::kUnsupported, "head_dim " + std::to_string(weights.config.head_dim) + ", at most " +
                                            std::to_string(kMaxHeadDim) + " is read");
    }
    if (weights.config.experts > kMaxExperts) {
        return fail(Code::kUnsupported, std::to_string(weights.config.experts) + " experts, at most " +
                                            std::to_string(kMaxExperts) + " are read");
    }
    OSTAL_TRY(const std::vector<float> divisors, read_divisors(source, files));
    weights.rope_frequencies = rope_frequencies(weights.config, divisors);
    weights.attention_scale = attention_scale(weights.config);

    ArenaPlan plan;
    OSTAL_TRYV(Binder<ArenaPlan>(files, plan).bind(weights));
    OSTAL_TRY(weights.arena, Arena::create("the weights", plan.bytes()));
    Binder<Arena> binder(files, weights.arena);
    OSTAL_TRYV(binder.bind(weights));
    const Destinations destinations = binder.take_destinations();

    std::vector<const TensorInfo*> tensors;
    for (const TensorInfo& info : files.tensors()) {
        if (destinations.contains(&info)) tensors.push_back(&info);
    }
    OSTAL_TRYV(read_pieces(source, tensors, threads, [&](const TensorPiece& piece) -> Status {
        copy_piece(piece, destinations.at(&piece.tensor));
        return {};
    }));
    OSTAL_TRYV(weights.arena.make_read_only());
    return weights;
}

}  // namespace ostal::engine
