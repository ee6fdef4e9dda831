#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
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
    if (spec_.rope_scaling.kind == engine::RopeKind::kDivisors)
        add("rope_freqs.weight", {spec_.head_dim / 2});
}

const TinyTensor& TinyModel::tensor(std::string_view name) const {
    for (const TinyTensor& tensor : tensors_) {
        if (tensor.name == name) return tensor;
    }
    CHECK_UNREACHABLE("no such tensor");
}

void TinyModel::set_values(std::string_view name, std::vector<float> values) {
    for (TinyTensor& tensor : tensors_) {
        if (tensor.name != name) continue;
        CHECK_EQ(tensor.values.size(), values.size());
        tensor.values = std::move(values);
        return;
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

}  // namespace ostal::test
