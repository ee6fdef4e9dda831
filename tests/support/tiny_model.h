// Small random models for tests: the same weights as a Hugging Face folder and a Mistral folder (whole or
// sharded), and as GGUF.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "engine/core/dtype.h"
#include "engine/io/model_config.h"
#include "engine/io/weight_source.h"

namespace ostal::test {

struct TinyModelSpec {
    std::string architecture = "mixtral";  // "mixtral", or dense "mistral", "ministral", "llama"
    std::int32_t layers = 2;
    std::int32_t dim = 64;
    std::int32_t heads = 4;
    std::int32_t kv_heads = 2;
    std::int32_t head_dim = 16;
    std::int32_t ffn = 96;
    std::int32_t experts = 4;  // ignored by the dense ones
    std::int32_t experts_per_token = 2;
    std::int32_t vocab = 384;  // at least 384: the vocabulary below, then unused pieces
    std::int32_t context = 256;
    double rope_theta = 10000.0;
    engine::RopeScaling rope_scaling;   // kDivisors: GGUF alone can say it
    std::vector<std::int32_t> windows;  // repeats over the layers; 0: all keys; the others are one number
    double norm_eps = 1e-5;
    bool tied_embeddings = false;
    std::uint64_t seed = 1;
    // What every matrix is rounded to when it is made; norms are f32-exact bf16 values.
    engine::DType dtype = engine::DType::kBF16;
};

struct TinyTensor {
    std::string name;                 // Hugging Face name
    std::vector<std::int64_t> shape;  // [columns] or [rows, columns]
    std::vector<float> values;        // row-major, half-rotation order
};

// A source over bytes in memory; for tests and fuzz targets.
class MemorySource final : public engine::WeightSource {
public:
    MemorySource() = default;
    explicit MemorySource(std::vector<std::pair<std::string, Bytes>> files);
    // Adds or replaces a file.
    void set(const std::string& name, Bytes content);
    void erase(const std::string& name);
    Bytes& content(const std::string& name);

    const std::vector<engine::SourceFile>& files() const override { return listed_; }
    Status read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const override;

private:
    void list();
    std::vector<std::pair<std::string, Bytes>> files_;
    std::vector<engine::SourceFile> listed_;
};

// The weights of a spec; weights depend on the seed and the tensor's name alone. Matrices are drawn with a
// standard deviation of 1/sqrt(columns) (embedding 1, router 2/sqrt, output 3/sqrt), norms around 1.
class TinyModel {
public:
    explicit TinyModel(TinyModelSpec spec);

    const TinyModelSpec& spec() const { return spec_; }
    const std::vector<TinyTensor>& tensors() const { return tensors_; }
    const TinyTensor& tensor(std::string_view name) const;
    // Replaces the values of a tensor; as many: CHECK.
    void set_values(std::string_view name, std::vector<float> values);
    // The model whose matrices hold what `dtype` keeps of them (quantised and back): what a reader of
    // gguf(dtype) computes with.
    TinyModel rounded_to(engine::DType dtype) const;

    // Hugging Face: config.json, tokenizer.model and weights in spec().dtype (f32, f16 or bf16).
    MemorySource folder(std::int32_t shards = 1) const;
    // Mistral: params.json, tokenizer.model.v3 and weights in spec().dtype; shards are numbered, with an
    // index where `index` is true. For plain RoPE and YaRN.
    MemorySource mistral(std::int32_t shards = 1, bool index = false) const;
    // One file "model.gguf", matrices in `matrices` (columns must be whole blocks), norms and router f32;
    // experts merged as files of today have them, or each on its own as before April 2024.
    MemorySource gguf(engine::DType matrices, bool merged_experts = true) const;
    // Writes the files of a source into an existing folder.
    static void write(const MemorySource& source, const std::string& path);

    // The vocabulary: <unk> <s> </s>, the control pieces of format v3 at 3 to 9, 256 byte pieces, then "▁",
    // letters, digits, punctuation and a few merges; unused pieces up to spec().vocab.
    struct Piece {
        std::string text;
        float score = 0.0F;
        std::int32_t type =
            1;  // as in sentencepiece and GGUF: 1 normal, 2 unknown, 3 control, 5 unused, 6 byte
    };
    std::vector<Piece> vocabulary() const;
    Bytes tokenizer_model() const;  // sentencepiece ModelProto, BPE with byte fallback
    std::string config_json() const;
    std::string params_json() const;

private:
    TinyModelSpec spec_;
    std::vector<TinyTensor> tensors_;
};

// Values of `values` (row-major, columns a multiple of the block) in the layout of `dtype`, and back.
Bytes encode_values(engine::DType dtype, const std::vector<float>& values);
std::vector<float> decode_values(engine::DType dtype, ByteSpan bytes);

}  // namespace ostal::test
