#include "engine/io/wanted_tensors.h"

#include <utility>

namespace ostal::engine {
namespace {

class Wanted {
public:
    explicit Wanted(const ModelConfig& config) : c_(config) {}

    std::vector<WantedTensor> all() {
        const std::int64_t dim = c_.dim;
        add("model.embed_tokens", "tok_embeddings", "token_embd", {c_.vocab, dim});
        for (std::int32_t i = 0; i < c_.layers; ++i) layer(i);
        add("model.norm", "norm", "output_norm", {dim});
        if (!c_.tied_embeddings) add("lm_head", "output", "output", {c_.vocab, dim});
        if (c_.rope_scaling.kind == RopeKind::kDivisors) {
            add("rope_freqs", "rope_freqs", "rope_freqs", {c_.head_dim / 2});
            tensors_.back().only_gguf = true;
        }
        return std::move(tensors_);
    }

private:
    void layer(std::int32_t index) {
        const std::string number = std::to_string(index) + ".";
        const std::string hf = "model.layers." + number;
        const std::string mistral = "layers." + number;
        const std::string gguf = "blk." + number;
        const std::int64_t dim = c_.dim;
        const std::int64_t queries = std::int64_t{c_.heads} * c_.head_dim;
        const std::int64_t keys = std::int64_t{c_.kv_heads} * c_.head_dim;
        const std::int64_t ffn = c_.ffn;
        add(hf + "input_layernorm", mistral + "attention_norm", gguf + "attn_norm", {dim});
        add(hf + "self_attn.q_proj", mistral + "attention.wq", gguf + "attn_q", {queries, dim});
        tensors_.back().interleaved_heads = c_.heads;
        add(hf + "self_attn.k_proj", mistral + "attention.wk", gguf + "attn_k", {keys, dim});
        tensors_.back().interleaved_heads = c_.kv_heads;
        add(hf + "self_attn.v_proj", mistral + "attention.wv", gguf + "attn_v", {keys, dim});
        add(hf + "self_attn.o_proj", mistral + "attention.wo", gguf + "attn_output", {dim, queries});
        add(hf + "post_attention_layernorm", mistral + "ffn_norm", gguf + "ffn_norm", {dim});
        const std::string feed_forward = mistral + "feed_forward.";
        if (c_.experts == 0) {
            add(hf + "mlp.gate_proj", feed_forward + "w1", gguf + "ffn_gate", {ffn, dim});
            add(hf + "mlp.up_proj", feed_forward + "w3", gguf + "ffn_up", {ffn, dim});
            add(hf + "mlp.down_proj", feed_forward + "w2", gguf + "ffn_down", {dim, ffn});
            return;
        }
        const std::string experts = hf + "block_sparse_moe.";
        add(experts + "gate", feed_forward + "gate", gguf + "ffn_gate_inp", {c_.experts, dim});
        for (std::int32_t e = 0; e < c_.experts; ++e) {
            const std::string own = "experts." + std::to_string(e) + ".";
            expert(experts + own + "w1", feed_forward + own + "w1", gguf + "ffn_gate", e, {ffn, dim});
            expert(experts + own + "w3", feed_forward + own + "w3", gguf + "ffn_up", e, {ffn, dim});
            expert(experts + own + "w2", feed_forward + own + "w2", gguf + "ffn_down", e, {dim, ffn});
        }
    }

    void add(const std::string& hf, const std::string& mistral, const std::string& gguf,
             std::vector<std::int64_t> shape) {
        WantedTensor tensor;
        tensor.name = hf + ".weight";
        tensor.mistral_name = mistral + ".weight";
        tensor.gguf_name = gguf + ".weight";
        tensor.shape = std::move(shape);
        tensors_.push_back(std::move(tensor));
    }

    void expert(const std::string& hf, const std::string& mistral, const std::string& gguf, std::int32_t e,
                std::vector<std::int64_t> shape) {
        add(hf, mistral, gguf + "_exps", std::move(shape));
        tensors_.back().expert = e;
        tensors_.back().gguf_own_name = gguf + "." + std::to_string(e) + ".weight";
    }

    const ModelConfig& c_;
    std::vector<WantedTensor> tensors_;
};

}  // namespace

std::vector<WantedTensor> wanted_tensors(const ModelConfig& config) { return Wanted(config).all(); }

}  // namespace ostal::engine
