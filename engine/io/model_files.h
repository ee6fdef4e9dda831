// The tensors of a model under one naming and in one convention, whatever the file format.
//
// Names are Hugging Face's:
//   model.embed_tokens.weight [V, D]                     model.norm.weight [D]       lm_head.weight [V, D]
//   model.layers.N.input_layernorm.weight [D]            model.layers.N.post_attention_layernorm.weight [D]
//   model.layers.N.self_attn.{q,k,v,o}_proj.weight       [H Dh, D] [K Dh, D] [K Dh, D] [D, H Dh]
//   dense: model.layers.N.mlp.{gate,up,down}_proj.weight [F, D] [F, D] [D, F]
//   experts: model.layers.N.block_sparse_moe.gate.weight [E, D]
//            model.layers.N.block_sparse_moe.experts.E.{w1,w3,w2}.weight [F, D] [F, D] [D, F]
//   rope_freqs.weight [Dh / 2], divisors of RoPE's frequencies, where a GGUF file has them
// Rows of q and k come in the order of half-rotation RoPE (rotate_half): Mistral's own folders and GGUF's
// `llama` files store them for interleaved pairs, and reading puts whole rows back, which also holds for
// quantised rows.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/core/dtype.h"
#include "engine/io/gguf.h"
#include "engine/io/model_config.h"
#include "engine/io/weight_source.h"

namespace ostal::engine {

struct TensorInfo {
    std::string name;  // Hugging Face name
    DType dtype = DType::kF32;
    std::vector<std::int64_t> shape;  // [columns] or [rows, columns]
    std::string file;
    std::uint64_t offset = 0;  // in the file
    std::uint64_t bytes = 0;
    std::int32_t interleaved_heads = 0;  // above 0: the file's rows are in interleaved order, that many heads

    std::int64_t rows() const { return shape.size() == 2 ? shape[0] : 1; }
    std::int64_t columns() const { return shape.back(); }
};

// Largest piece read_pieces() hands out (whole rows; for q and k of a GGUF whole heads, which may be more).
inline constexpr std::uint64_t kPieceBytes = 4ULL << 20U;

enum class Layout : std::uint8_t { kHuggingFace, kMistral, kGguf };
std::string_view layout_name(Layout layout);  // "Hugging Face folder", "Mistral folder", "GGUF file"

// By the names of the files alone; kInvalidArgument when they are no model's, or those of two.
Result<Layout> find_layout(const WeightSource& source);

class ModelFiles {
public:
    // Reads config and headers, no weights. The source holds config.json with model.safetensors or with
    // model.safetensors.index.json and its shards; or params.json with consolidated.safetensors or with
    // shards (consolidated-0000x-of-0000y.safetensors, consolidated.0x.safetensors) that an index names or
    // that are all there by their numbers; or one .gguf file. Afterwards tensors() is exactly what the config
    // asks for, in a fixed order, with the shapes it asks for. kInvalidArgument: malformed, a missing tensor
    // (named), a shape against the config (both shapes named); kUnsupported: a setting, a type, or a tensor
    // this build does not know (named), or a file that is a pickle, zip, ELF, llamafile, ... by its first
    // bytes (named), whatever its name says.
    static Result<ModelFiles> open(const WeightSource& source);

    Layout layout() const { return layout_; }
    const ModelConfig& config() const { return config_; }
    const std::vector<TensorInfo>& tensors() const { return tensors_; }
    const TensorInfo* find(std::string_view name) const;
    // Present when the model is a GGUF file: metadata for the tokenizer.
    const GgufFile* gguf() const { return gguf_.get(); }
    std::int64_t parameters() const;
    std::uint64_t weight_bytes() const;
    std::string weight_types() const;  // e.g. "bf16" or "q4_1+q8_0+f32", most bytes first

private:
    Layout layout_ = Layout::kHuggingFace;
    ModelConfig config_;
    std::vector<TensorInfo> tensors_;
    std::unordered_map<std::string, std::size_t> at_;
    std::shared_ptr<const GgufFile> gguf_;
};

// `rows` whole rows of a tensor from `first_row`, in memory order: rows() of row_bytes(dtype, columns).
struct TensorPiece {
    const TensorInfo& tensor;
    std::int64_t first_row = 0;
    std::int64_t rows = 0;
    ByteSpan bytes;
};
// Called from several threads at once, each with pieces of its own; a failure ends the reading.
using PieceSink = std::function<Status(const TensorPiece&)>;

// Reads the tensors with `threads` threads (the calling one is one of them), in pieces of about kPieceBytes,
// each checked with check_finite. Returns the first error (context names the tensor).
Status read_pieces(const WeightSource& source, std::span<const TensorInfo* const> tensors,
                   std::int32_t threads, const PieceSink& sink);
// One whole tensor; `out` has exactly tensor.bytes: CHECK.
Status read_tensor(const WeightSource& source, const TensorInfo& tensor, MutableByteSpan out);

// kIntegrity ("NaN scale", "infinite weight", with the index of the value) when a float weight, or the scale
// or minimum of a quantised block, is not finite. `bytes` are whole blocks of `dtype`.
Status check_finite(DType dtype, ByteSpan bytes);

// What a file is by its first bytes when it must never be read as a model: "a Python pickle", "a zip archive
// (PyTorch)", "an ELF program", "a llamafile program", ...; nothing for the rest.
std::optional<std::string_view> refused_format(ByteSpan first_bytes);

}  // namespace ostal::engine
