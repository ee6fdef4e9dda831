#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numbers>

#include "base/check.h"
#include "base/json.h"
#include "tests/support/gguf_builder.h"

namespace ostal::test {
namespace {

using engine::DType;

// ---- Random weights ----

std::uint64_t split_mix(std::uint64_t& state) {  // Vigna's splitmix64
    std::uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

std::vector<float> normal_values(std::uint64_t seed, std::string_view name, std::size_t count, double mean,
                                 double deviation) {
    std::uint64_t state = 0xCBF29CE484222325ULL ^ seed;  // FNV-1a of the name
    for (const char c : name) state = (state ^ static_cast<std::uint8_t>(c)) * 0x100000001B3ULL;
    std::vector<float> values(count);
    for (float& value : values) {  // Box-Muller
        const double u = (static_cast<double>(split_mix(state) >> 11) + 1.0) * 0x1p-53;
        const double v = static_cast<double>(split_mix(state) >> 11) * 0x1p-53;
        value = static_cast<float>(mean + deviation * std::sqrt(-2.0 * std::log(u)) *
                                              std::cos(2.0 * std::numbers::pi * v));
    }
    return values;
}

double deviation_of(std::string_view name, std::int64_t columns) {
    if (name == "model.embed_tokens.weight") return 1.0;
    double gain = 1.0;
    if (name == "lm_head.weight") gain = 3.0;
    if (name.ends_with("block_sparse_moe.gate.weight")) gain = 2.0;
    return gain / std::sqrt(static_cast<double>(columns));
}

bool is_float(DType dtype) { return !engine::is_quantised(dtype); }

// ---- Protocol buffers (sentencepiece_model.proto of the sentencepiece project) ----

void put_varint(Bytes& out, std::uint64_t value) {
    for (; value >= 128; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 128U));
    out.push_back(static_cast<std::uint8_t>(value));
}
void put_number(Bytes& out, std::uint32_t field, std::uint64_t value) {
    put_varint(out, field << 3U);
    put_varint(out, value);
}
void put_message(Bytes& out, std::uint32_t field, ByteSpan content) {
    put_varint(out, (field << 3U) | 2U);
    put_varint(out, content.size());
    append(out, content);
}

// ---- GGUF ----

std::string gguf_name(std::string_view name) {
    static constexpr std::pair<std::string_view, std::string_view> kWhole[] = {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"model.norm.weight", "output_norm.weight"},
        {"lm_head.weight", "output.weight"},
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

}  // namespace

// ---- MemorySource ----

MemorySource::MemorySource(std::vector<std::pair<std::string, Bytes>> files) : files_(std::move(files)) {
    list();
}
void MemorySource::list() {
    std::sort(files_.begin(), files_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    listed_.clear();
    for (const auto& [name, content] : files_) listed_.push_back({name, content.size()});
}
void MemorySource::set(const std::string& name, Bytes content) {
    erase(name);
    files_.emplace_back(name, std::move(content));
    list();
}
void MemorySource::erase(const std::string& name) {
    std::erase_if(files_, [&](const auto& file) { return file.first == name; });
    list();
}
Bytes& MemorySource::content(const std::string& name) {
    for (auto& [file, content] : files_) {
        if (file == name) return content;
    }
    CHECK_UNREACHABLE("no such file in the source");
}
Status MemorySource::read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const {
    for (const auto& [file, content] : files_) {
        if (file != name) continue;
        if (offset > content.size() || out.size() > content.size() - offset) {
            return fail(Code::kInvalidArgument, "a read past the end of " + file);
        }
        std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
        return {};
    }
    return fail(Code::kNotFound, "no file " + std::string(name));
}

// ---- TinyModel ----

TinyModel::TinyModel(TinyModelSpec spec) : spec_(std::move(spec)) {
    if (spec_.architecture != "mixtral") spec_.experts = spec_.experts_per_token = 0;
    CHECK(is_float(spec_.dtype));
    CHECK_GE(spec_.vocab, 384);
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
        std::size_t count = 1;
        for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
        const bool norm = shape.size() == 1;
        const double deviation = norm ? 0.1 : deviation_of(name, shape.back());
        std::vector<float> values = normal_values(spec_.seed, name, count, norm ? 1.0 : 0.0, deviation);
        const DType kept = norm ? DType::kBF16 : spec_.dtype;
        tensors_.push_back({name, std::move(shape), decode_values(kept, encode_values(kept, values))});
    };
    const std::int64_t dim = spec_.dim;
    const std::int64_t queries = std::int64_t{spec_.heads} * spec_.head_dim;
    const std::int64_t keys = std::int64_t{spec_.kv_heads} * spec_.head_dim;
    const std::int64_t ffn = spec_.ffn;
    add("model.embed_tokens.weight", {spec_.vocab, dim});
    for (std::int32_t i = 0; i < spec_.layers; ++i) {
        const std::string layer = "model.layers." + std::to_string(i) + ".";
        add(layer + "input_layernorm.weight", {dim});
        add(layer + "self_attn.q_proj.weight", {queries, dim});
        add(layer + "self_attn.k_proj.weight", {keys, dim});
        add(layer + "self_attn.v_proj.weight", {keys, dim});
        add(layer + "self_attn.o_proj.weight", {dim, queries});
        add(layer + "post_attention_layernorm.weight", {dim});
        if (spec_.experts == 0) {
            add(layer + "mlp.gate_proj.weight", {ffn, dim});
            add(layer + "mlp.up_proj.weight", {ffn, dim});
            add(layer + "mlp.down_proj.weight", {dim, ffn});
            continue;
        }
        add(layer + "block_sparse_moe.gate.weight", {spec_.experts, dim});
        for (std::int32_t e = 0; e < spec_.experts; ++e) {
            const std::string expert = layer + "block_sparse_moe.experts." + std::to_string(e) + ".";
            add(expert + "w1.weight", {ffn, dim});
            add(expert + "w2.weight", {dim, ffn});
            add(expert + "w3.weight", {ffn, dim});
        }
    }
    add("model.norm.weight", {dim});
    if (!spec_.tied_embeddings) add("lm_head.weight", {spec_.vocab, dim});
}

const TinyTensor& TinyModel::tensor(std::string_view name) const {
    for (const TinyTensor& tensor : tensors_) {
        if (tensor.name == name) return tensor;
    }
    CHECK_UNREACHABLE("no such tensor");
}

TinyModel TinyModel::rounded_to(DType dtype) const {
    TinyModel rounded = *this;
    for (TinyTensor& tensor : rounded.tensors_) {
        const bool kept = tensor.shape.size() == 1 || tensor.name.ends_with("block_sparse_moe.gate.weight");
        if (!kept) tensor.values = decode_values(dtype, encode_values(dtype, tensor.values));
    }
    return rounded;
}

std::string TinyModel::config_json() const {
    const bool moe = spec_.experts > 0;
    const std::string family = moe ? "Mixtral" : spec_.architecture == "llama" ? "Llama" : "Mistral";
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
    return json::to_pretty_string(config);
}

std::vector<TinyModel::Piece> TinyModel::vocabulary() const {
    std::vector<Piece> pieces{{"<unk>", 0.0F, 2}, {"<s>", 0.0F, 3}, {"</s>", 0.0F, 3}};
    for (const char* control : {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]",
                                "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"}) {
        pieces.push_back({control, 0.0F, 3});
    }
    for (int byte = 0; byte < 256; ++byte) {
        static constexpr char kDigits[] = "0123456789ABCDEF";
        pieces.push_back({std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", 0.0F, 6});
    }
    // BPE merges come before the characters they join, as in sentencepiece: score = -rank.
    float score = 0.0F;
    const std::string space = "\xE2\x96\x81";
    for (const std::string& merge : {space + "t", std::string("he"), std::string("in"), space + "the",
                                     std::string("er"), std::string("ing"), space + "a"}) {
        pieces.push_back({merge, score, 1});
        score -= 1.0F;
    }
    pieces.push_back({space, score, 1});
    for (const char c :
         std::string("etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLUCMFWYPVBGKJQXZ0123456789.,?!'-:;\"()/")) {
        score -= 1.0F;
        pieces.push_back({std::string(1, c), score, 1});
    }
    for (std::size_t i = pieces.size(); i < static_cast<std::size_t>(spec_.vocab); ++i) {
        pieces.push_back({"[PAD" + std::to_string(i) + "]", -10000.0F, 5});
    }
    CHECK_EQ(pieces.size(), static_cast<std::size_t>(spec_.vocab));
    return pieces;
}

Bytes TinyModel::tokenizer_model() const {
    Bytes model;
    for (const Piece& piece : vocabulary()) {
        Bytes message;
        put_message(message, 1, as_bytes(piece.text));
        put_varint(message, (2U << 3U) | 5U);  // score, 32-bit
        put_le32(message, std::bit_cast<std::uint32_t>(piece.score));
        put_number(message, 3, static_cast<std::uint64_t>(piece.type));
        put_message(model, 1, message);
    }
    Bytes trainer;
    put_number(trainer, 3, 2);  // model_type BPE
    put_number(trainer, 4, static_cast<std::uint64_t>(spec_.vocab));
    put_number(trainer, 35, 1);  // byte_fallback
    put_number(trainer, 40, 0);  // unk_id
    put_number(trainer, 41, 1);  // bos_id
    put_number(trainer, 42, 2);  // eos_id
    put_message(model, 2, trainer);
    Bytes normalizer;
    put_message(normalizer, 1, as_bytes("identity"));
    put_number(normalizer, 3, 1);  // add_dummy_prefix
    put_number(normalizer, 4, 0);  // remove_extra_whitespaces
    put_number(normalizer, 5, 1);  // escape_whitespaces
    put_message(model, 3, normalizer);
    return model;
}

MemorySource TinyModel::folder(std::int32_t shards) const {
    MemorySource source;
    const std::string config = config_json();
    source.set("config.json", Bytes(config.begin(), config.end()));
    source.set("tokenizer.model", tokenizer_model());
    std::vector<std::vector<const TinyTensor*>> groups(static_cast<std::size_t>(shards));
    for (std::size_t i = 0; i < tensors_.size(); ++i)
        groups[i * groups.size() / tensors_.size()].push_back(&tensors_[i]);
    if (shards == 1) {
        source.set("model.safetensors", safetensors_file(groups[0], spec_.dtype));
        return source;
    }
    const auto padded = [](std::int32_t n) {
        const std::string text = std::to_string(n);
        return std::string(5 - text.size(), '0') + text;
    };
    json::Object weight_map;
    std::uint64_t total = 0;
    for (std::int32_t k = 0; k < shards; ++k) {
        const std::string file = "model-" + padded(k + 1) + "-of-" + padded(shards) + ".safetensors";
        const auto& group = groups[static_cast<std::size_t>(k)];
        for (const TinyTensor* tensor : group) {
            weight_map.append(tensor->name, file);
            total += tensor->values.size() * static_cast<std::uint64_t>(engine::block_bytes(spec_.dtype));
        }
        source.set(file, safetensors_file(group, spec_.dtype));
    }
    const std::string index = json::to_pretty_string(json::Object{
        {"metadata", json::Object{{"total_size", total}}}, {"weight_map", std::move(weight_map)}});
    source.set("model.safetensors.index.json", Bytes(index.begin(), index.end()));
    return source;
}

MemorySource TinyModel::gguf(DType matrices) const {
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
                shape = {spec_.experts, matrix.shape[0], matrix.shape[1]};
                append(content, encode_values(matrices, matrix.values));
            }
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
