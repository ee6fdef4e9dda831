// The layouts of a TinyModel: Hugging Face, Mistral, GGUF.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/check.h"
#include "base/json.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::test {
namespace {

using engine::DType;

// ---- GGUF ----

std::string gguf_name(std::string_view name) {
    static constexpr std::pair<std::string_view, std::string_view> kWhole[] = {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"model.norm.weight", "output_norm.weight"},
        {"lm_head.weight", "output.weight"},
        {"rope_freqs.weight", "rope_freqs.weight"},
    };
    static constexpr std::pair<std::string_view, std::string_view> kInLayer[] = {
        {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
        {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
        {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"},    {"block_sparse_moe.gate", "ffn_gate_inp"},
    };
    for (const auto& [from, to] : kWhole) {
        if (name == from) return std::string(to);
    }
    const std::string_view rest = name.substr(std::string_view("model.layers.").size());
    const std::size_t dot = rest.find('.');
    for (const auto& [from, to] : kInLayer) {
        if (rest.substr(dot + 1) == std::string(from) + ".weight") {
            return "blk." + std::string(rest.substr(0, dot)) + "." + std::string(to) + ".weight";
        }
    }
    return {};  // an expert's matrix: merged below
}

// Row order of half-rotation RoPE to that of interleaved pairs.
std::vector<float> interleave_rows(const TinyTensor& tensor, std::int64_t heads) {
    const std::int64_t columns = tensor.shape[1];
    const std::int64_t head = tensor.shape[0] / heads;
    std::vector<float> out(tensor.values.size());
    for (std::int64_t row = 0; row < tensor.shape[0]; ++row) {
        const std::int64_t in_head = row % head;
        const std::int64_t to = row - in_head + 2 * (in_head % (head / 2)) + in_head / (head / 2);
        std::copy_n(tensor.values.begin() + row * columns, columns, out.begin() + to * columns);
    }
    return out;
}

std::uint32_t ggml_type(DType dtype) {
    switch (dtype) {
        case DType::kF32: return 0;
        case DType::kF16: return 1;
        case DType::kQ4_0: return 2;
        case DType::kQ4_1: return 3;
        case DType::kQ5_0: return 6;
        case DType::kQ5_1: return 7;
        case DType::kQ8_0: return 8;
        case DType::kQ4_K: return 12;
        case DType::kQ5_K: return 13;
        case DType::kQ6_K: return 14;
        case DType::kBF16: return 30;
        case DType::kI32: return 26;
    }
    CHECK_UNREACHABLE("element type");
}

std::string safetensors_dtype(DType dtype) {
    return dtype == DType::kF32 ? "F32" : dtype == DType::kF16 ? "F16" : "BF16";
}

// ---- Hugging Face and Mistral ----

void add_rope(json::Object& config, const TinyModelSpec& spec) {
    const engine::RopeScaling& rope = spec.rope_scaling;
    json::Object out{{"rope_type", engine::rope_kind_name(rope.kind)}, {"factor", rope.factor}};
    switch (rope.kind) {
        case engine::RopeKind::kPlain: return;
        case engine::RopeKind::kLinear:
        case engine::RopeKind::kDynamic: break;
        case engine::RopeKind::kYarn:
            out.set("original_max_position_embeddings", rope.original_context);
            out.set("beta_fast", rope.beta_fast);
            out.set("beta_slow", rope.beta_slow);
            out.set("truncate", rope.truncate);
            out.set("attention_factor", rope.attention_factor);
            break;
        case engine::RopeKind::kLlama3:
            out.set("original_max_position_embeddings", rope.original_context);
            out.set("low_freq_factor", rope.low_frequency_factor);
            out.set("high_freq_factor", rope.high_frequency_factor);
            break;
        case engine::RopeKind::kDivisors: CHECK_UNREACHABLE("only GGUF has divisors");
    }
    config.set("rope_scaling", out);
}

std::int32_t window_of(const TinyModelSpec& spec, std::int32_t layer) {
    return spec.windows.empty() ? 0 : spec.windows[static_cast<std::size_t>(layer) % spec.windows.size()];
}
std::int32_t largest_window(const TinyModelSpec& spec) {
    return *std::max_element(spec.windows.begin(), spec.windows.end());
}

void add_windows(json::Object& config, const TinyModelSpec& spec) {
    if (spec.windows.empty()) return;
    config.set("sliding_window", largest_window(spec));
    json::Array types;
    for (std::int32_t i = 0; i < spec.layers; ++i)
        types.emplace_back(window_of(spec, i) > 0 ? "sliding_attention" : "full_attention");
    config.set("layer_types", types);
}

// The tensor under Mistral's name, q and k in interleaved order.
TinyTensor for_mistral(const TinyTensor& tensor, const TinyModelSpec& spec) {
    static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"model.embed_tokens", "tok_embeddings"},
        {"model.norm", "norm"},
        {"lm_head", "output"},
        {"model.layers", "layers"},
        {"self_attn.q_proj", "attention.wq"},
        {"self_attn.k_proj", "attention.wk"},
        {"self_attn.v_proj", "attention.wv"},
        {"self_attn.o_proj", "attention.wo"},
        {"input_layernorm", "attention_norm"},
        {"post_attention_layernorm", "ffn_norm"},
        {"mlp.gate_proj", "feed_forward.w1"},
        {"mlp.down_proj", "feed_forward.w2"},
        {"mlp.up_proj", "feed_forward.w3"},
        {"block_sparse_moe", "feed_forward"},
    };
    TinyTensor out = tensor;
    if (tensor.name.find("q_proj") != std::string::npos) out.values = interleave_rows(tensor, spec.heads);
    if (tensor.name.find("k_proj") != std::string::npos) out.values = interleave_rows(tensor, spec.kv_heads);
    for (const auto& [from, to] : kNames) {
        const std::size_t at = out.name.find(from);
        if (at != std::string::npos) out.name.replace(at, from.size(), to);
    }
    return out;
}

void set_text(MemorySource& source, const std::string& name, const std::string& text) {
    source.set(name, Bytes(text.begin(), text.end()));
}

Bytes safetensors_file(const std::vector<const TinyTensor*>& tensors, DType dtype) {
    json::Object header;
    header.append("__metadata__", json::Object{{"format", "pt"}});
    Bytes data;
    for (const TinyTensor* tensor : tensors) {
        json::Array shape;
        for (const std::int64_t size : tensor->shape) shape.emplace_back(size);
        const std::uint64_t begin = data.size();
        append(data, encode_values(dtype, tensor->values));
        const json::Array range{begin, static_cast<std::uint64_t>(data.size())};
        header.append(
            tensor->name,
            json::Object{{"dtype", safetensors_dtype(dtype)}, {"shape", shape}, {"data_offsets", range}});
    }
    std::string text = json::to_string(header);
    text.resize((text.size() + 7) / 8 * 8, ' ');
    Bytes out;
    put_le64(out, text.size());
    append(out, as_bytes(text));
    append(out, data);
    return out;
}

// STEM.safetensors, or so many numbered shards, with STEM.safetensors.index.json where `index` is true.
void add_weights(MemorySource& source, const std::string& stem, const std::vector<TinyTensor>& tensors,
                 DType dtype, std::int32_t shards, bool index) {
    std::vector<std::vector<const TinyTensor*>> groups(static_cast<std::size_t>(shards));
    for (std::size_t i = 0; i < tensors.size(); ++i)
        groups[i * groups.size() / tensors.size()].push_back(&tensors[i]);
    if (shards == 1) {
        source.set(stem + ".safetensors", safetensors_file(groups[0], dtype));
        return;
    }
    const auto padded = [](std::int32_t n) {
        const std::string text = std::to_string(n);
        return std::string(5 - text.size(), '0') + text;
    };
    json::Object weight_map;
    std::uint64_t total = 0;
    for (std::int32_t k = 0; k < shards; ++k) {
        const std::string file = stem + "-" + padded(k + 1) + "-of-" + padded(shards) + ".safetensors";
        const auto& group = groups[static_cast<std::size_t>(k)];
        for (const TinyTensor* tensor : group) {
            weight_map.append(tensor->name, file);
            total += tensor->values.size() * static_cast<std::uint64_t>(engine::block_bytes(dtype));
        }
        source.set(file, safetensors_file(group, dtype));
    }
    if (!index) return;
    set_text(source, stem + ".safetensors.index.json",
             json::to_pretty_string(json::Object{{"metadata", json::Object{{"total_size", total}}},
                                                 {"weight_map", std::move(weight_map)}}));
}

// ---- Windows and RoPE in GGUF ----

void add_scalings(GgufBuilder& out, const TinyModelSpec& spec) {
    const engine::RopeScaling& rope = spec.rope_scaling;
    const std::string prefix = "llama.rope.scaling.";
    if (rope.kind == engine::RopeKind::kLinear || rope.kind == engine::RopeKind::kYarn) {
        out.add_text(prefix + "type", engine::rope_kind_name(rope.kind));
        out.add_f32(prefix + "factor", static_cast<float>(rope.factor));
    }
    if (rope.kind == engine::RopeKind::kYarn) {
        CHECK(rope.truncate);
        out.add_u32(prefix + "original_context_length", static_cast<std::uint32_t>(rope.original_context));
        out.add_f32(prefix + "yarn_beta_fast", static_cast<float>(rope.beta_fast));
        out.add_f32(prefix + "yarn_beta_slow", static_cast<float>(rope.beta_slow));
        const double assumed = 1.0 + 0.1 * std::log(rope.factor);
        if (std::abs(rope.attention_factor - assumed) > 1e-12)
            out.add_f32(prefix + "attn_factor", static_cast<float>(rope.attention_factor / assumed));
    }
    if (spec.windows.empty()) return;
    out.add_u32("llama.attention.sliding_window", static_cast<std::uint32_t>(largest_window(spec)));
    Bytes pattern;
    put_le32(pattern, static_cast<std::uint32_t>(GgufType::kBool));
    put_le64(pattern, static_cast<std::uint64_t>(spec.layers));
    for (std::int32_t i = 0; i < spec.layers; ++i) pattern.push_back(window_of(spec, i) > 0 ? 1 : 0);
    out.add_raw("llama.attention.sliding_window_pattern", static_cast<std::uint32_t>(GgufType::kArray),
                pattern);
}

}  // namespace

std::string TinyModel::config_json() const {
    const bool moe = spec_.experts > 0;
    std::string family = spec_.architecture;
    family[0] = static_cast<char>(family[0] - 'a' + 'A');
    json::Object config{
        {"architectures", json::Array{family + "ForCausalLM"}},
        {"model_type", spec_.architecture},
        {"vocab_size", spec_.vocab},
        {"hidden_size", spec_.dim},
        {"intermediate_size", spec_.ffn},
        {"num_hidden_layers", spec_.layers},
        {"num_attention_heads", spec_.heads},
        {"num_key_value_heads", spec_.kv_heads},
        {"head_dim", spec_.head_dim},
        {"rms_norm_eps", spec_.norm_eps},
        {"rope_theta", spec_.rope_theta},
        {"max_position_embeddings", spec_.context},
        {"sliding_window", nullptr},
        {"hidden_act", "silu"},
        {"tie_word_embeddings", spec_.tied_embeddings},
        {"bos_token_id", 1},
        {"eos_token_id", 2},
        {"torch_dtype", spec_.dtype == DType::kF32   ? "float32"
                        : spec_.dtype == DType::kF16 ? "float16"
                                                     : "bfloat16"},
    };
    if (moe) {
        config.set("num_local_experts", spec_.experts);
        config.set("num_experts_per_tok", spec_.experts_per_token);
    }
    add_rope(config, spec_);
    add_windows(config, spec_);
    return json::to_pretty_string(config);
}

std::string TinyModel::params_json() const {
    json::Object params{
        {"dim", spec_.dim},
        {"n_layers", spec_.layers},
        {"head_dim", spec_.head_dim},
        {"hidden_dim", spec_.ffn},
        {"n_heads", spec_.heads},
        {"n_kv_heads", spec_.kv_heads},
        {"norm_eps", spec_.norm_eps},
        {"vocab_size", spec_.vocab},
        {"rope_theta", spec_.rope_theta},
        {"max_seq_len", spec_.context},
    };
    if (spec_.experts > 0) {
        params.set("moe", json::Object{{"num_experts", spec_.experts},
                                       {"num_experts_per_tok", spec_.experts_per_token}});
    }
    if (spec_.tied_embeddings) params.set("tied_embeddings", true);
    json::Array windows;
    for (const std::int32_t window : spec_.windows) {
        if (window > 0) windows.emplace_back(window);
        if (window == 0) windows.emplace_back(nullptr);
    }
    if (!windows.empty()) params.set("sliding_window", windows);
    const engine::RopeScaling& rope = spec_.rope_scaling;
    if (rope.kind == engine::RopeKind::kYarn) {
        CHECK(rope.truncate);
        params.set("yarn", json::Object{{"factor", rope.factor},
                                        {"original_max_position_embeddings", rope.original_context},
                                        {"beta", rope.beta_fast},
                                        {"alpha", rope.beta_slow},
                                        {"apply_scale", rope.attention_factor != 1.0}});
    } else {
        CHECK(rope.kind == engine::RopeKind::kPlain);
    }
    return json::to_pretty_string(params);
}

MemorySource TinyModel::folder(std::int32_t shards) const {
    MemorySource source;
    set_text(source, "config.json", config_json());
    source.set("tokenizer.model", tokenizer_model());
    add_weights(source, "model", tensors_, spec_.dtype, shards, true);
    return source;
}

MemorySource TinyModel::mistral(std::int32_t shards, bool index) const {
    MemorySource source;
    set_text(source, "params.json", params_json());
    source.set("tokenizer.model.v3", tokenizer_model());
    std::vector<TinyTensor> tensors;
    for (const TinyTensor& tensor : tensors_) tensors.push_back(for_mistral(tensor, spec_));
    add_weights(source, "consolidated", tensors, spec_.dtype, shards, index);
    return source;
}

MemorySource TinyModel::gguf(DType matrices, bool merged_experts) const {
    CHECK(spec_.rope_scaling.kind != engine::RopeKind::kLlama3);  // such files have divisors instead
    GgufBuilder out;
    out.add_text("general.architecture", "llama");
    out.add_text("general.name", "tiny");
    out.add_u32("llama.vocab_size", static_cast<std::uint32_t>(spec_.vocab));
    out.add_u32("llama.context_length", static_cast<std::uint32_t>(spec_.context));
    out.add_u32("llama.embedding_length", static_cast<std::uint32_t>(spec_.dim));
    out.add_u32("llama.block_count", static_cast<std::uint32_t>(spec_.layers));
    out.add_u32("llama.feed_forward_length", static_cast<std::uint32_t>(spec_.ffn));
    out.add_u32("llama.rope.dimension_count", static_cast<std::uint32_t>(spec_.head_dim));
    out.add_f32("llama.rope.freq_base", static_cast<float>(spec_.rope_theta));
    out.add_u32("llama.attention.head_count", static_cast<std::uint32_t>(spec_.heads));
    out.add_u32("llama.attention.head_count_kv", static_cast<std::uint32_t>(spec_.kv_heads));
    out.add_u32("llama.attention.key_length", static_cast<std::uint32_t>(spec_.head_dim));
    out.add_u32("llama.attention.value_length", static_cast<std::uint32_t>(spec_.head_dim));
    out.add_f32("llama.attention.layer_norm_rms_epsilon", static_cast<float>(spec_.norm_eps));
    if (spec_.experts > 0) {
        out.add_u32("llama.expert_count", static_cast<std::uint32_t>(spec_.experts));
        out.add_u32("llama.expert_used_count", static_cast<std::uint32_t>(spec_.experts_per_token));
    }
    add_scalings(out, spec_);
    std::vector<std::string> texts;
    std::vector<float> scores;
    std::vector<std::int32_t> types;
    for (const Piece& piece : vocabulary()) {
        texts.push_back(piece.text);
        scores.push_back(piece.score);
        types.push_back(piece.type);
    }
    out.add_text("tokenizer.ggml.model", "llama");
    out.add_text("tokenizer.ggml.pre", "default");
    out.add_texts("tokenizer.ggml.tokens", texts);
    out.add_f32s("tokenizer.ggml.scores", scores);
    out.add_i32s("tokenizer.ggml.token_type", types);
    out.add_u32("tokenizer.ggml.bos_token_id", 1);
    out.add_u32("tokenizer.ggml.eos_token_id", 2);
    out.add_u32("tokenizer.ggml.unknown_token_id", 0);
    out.add_bool("tokenizer.ggml.add_bos_token", true);
    out.add_bool("tokenizer.ggml.add_eos_token", false);

    for (const TinyTensor& tensor : tensors_) {
        const std::string name = gguf_name(tensor.name);
        if (name.empty()) continue;
        const bool plain = tensor.shape.size() == 1 || name.ends_with("ffn_gate_inp.weight");
        const DType dtype = plain ? DType::kF32 : matrices;
        std::vector<float> values = tensor.values;
        if (name.ends_with("attn_q.weight")) values = interleave_rows(tensor, spec_.heads);
        if (name.ends_with("attn_k.weight")) values = interleave_rows(tensor, spec_.kv_heads);
        out.add_tensor(name, tensor.shape, ggml_type(dtype), encode_values(dtype, values));
    }
    for (std::int32_t i = 0; i < (spec_.experts > 0 ? spec_.layers : 0); ++i) {
        for (const auto& [merged, own] :
             {std::pair{"ffn_gate_exps", "w1"}, {"ffn_down_exps", "w2"}, {"ffn_up_exps", "w3"}}) {
            Bytes content;
            std::vector<std::int64_t> shape;
            for (std::int32_t e = 0; e < spec_.experts; ++e) {
                const TinyTensor& matrix =
                    tensor("model.layers." + std::to_string(i) + ".block_sparse_moe.experts." +
                           std::to_string(e) + "." + own + ".weight");
                if (!merged_experts) {
                    const std::string stem = std::string(merged).substr(0, std::string(merged).size() - 5);
                    out.add_tensor(
                        "blk." + std::to_string(i) + "." + stem + "." + std::to_string(e) + ".weight",
                        matrix.shape, ggml_type(matrices), encode_values(matrices, matrix.values));
                    continue;
                }
                shape = {spec_.experts, matrix.shape[0], matrix.shape[1]};
                append(content, encode_values(matrices, matrix.values));
            }
            if (!merged_experts) continue;
            out.add_tensor("blk." + std::to_string(i) + "." + merged + ".weight", shape, ggml_type(matrices),
                           content);
        }
    }
    MemorySource source;
    source.set("model.gguf", out.build());
    return source;
}

void TinyModel::write(const MemorySource& source, const std::string& path) {
    for (const engine::SourceFile& file : source.files()) {
        Bytes content(static_cast<std::size_t>(file.size_bytes));
        CHECK(source.read(file.name, 0, content).has_value());
        std::ofstream out(path + "/" + file.name, std::ios::binary);
        out.write(reinterpret_cast<const char*>(content.data()),
                  static_cast<std::streamsize>(content.size()));
        CHECK(out.good());
    }
}

}  // namespace ostal::test
