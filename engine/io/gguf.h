// The GGUF format, versions 2 and 3, little-endian: typed metadata, then a directory of tensors, then bytes.
//
// Source: docs/gguf.md of the ggml project. Every count, length and offset of the file is checked against the
// file's size before anything is allocated for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine/core/dtype.h"
#include "engine/io/weight_source.h"
#include "engine/request.h"

namespace ostal::engine {

// A metadata value. Integers of every width (and of arrays) become int64, or uint64 above its range; f32 and
// f64 become double. Arrays hold one kind; arrays of arrays are refused.
using GgufValue =
    std::variant<std::int64_t, std::uint64_t, double, bool, std::string, std::vector<std::int64_t>,
                 std::vector<double>, std::vector<bool>, std::vector<std::string>>;

struct GgufTensor {
    std::string name;
    DType dtype = DType::kF32;
    std::vector<std::int64_t> shape;  // outermost first, so [rows, columns]; GGUF itself stores columns first
    std::uint64_t offset = 0;         // of the first byte, from the start of the file
    std::uint64_t bytes = 0;
};

// Where a metadata value stands in the file: its type (u32) and its content, for who carries it over as it
// is.
struct GgufEntry {
    std::string key;
    std::uint64_t offset = 0;  // of the type
    std::uint64_t bytes = 0;   // of type and content
};

class GgufFile {
public:
    // Reads metadata and directory. Guaranteed: keys and names are unique, tensors lie inside the file behind
    // the directory, aligned, without overlap, rows are whole blocks of their type.
    // kInvalidArgument (malformed), kUnsupported (version, tensor or value type, split file; by name),
    // kTooLarge, and what the source returns.
    static Result<GgufFile> read(const WeightSource& source, std::string_view file);

    const std::string& file() const { return file_; }
    std::uint32_t version() const { return version_; }
    const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in the order of the file
    const GgufTensor* find_tensor(std::string_view name) const;
    const std::unordered_map<std::string, GgufValue>& metadata() const { return metadata_; }
    const GgufValue* find(std::string_view key) const;
    const std::vector<GgufEntry>& entries() const { return entries_; }  // in the order of the file

    // Typed access: nothing when the key is absent, kInvalidArgument (names the key) when its type is
    // another.
    Result<std::optional<std::int64_t>> integer(std::string_view key) const;
    Result<std::optional<double>> number(std::string_view key) const;  // also an integer
    Result<std::optional<bool>> boolean(std::string_view key) const;
    Result<std::optional<std::string>> text(std::string_view key) const;
    // nullptr when absent.
    Result<const std::vector<std::string>*> texts(std::string_view key) const;
    Result<const std::vector<double>*> numbers(std::string_view key) const;
    Result<const std::vector<std::int64_t>*> integers(std::string_view key) const;

private:
    friend class GgufParser;
    std::string file_;
    std::uint32_t version_ = 0;
    std::unordered_map<std::string, GgufValue> metadata_;
    std::vector<GgufEntry> entries_;
    std::vector<GgufTensor> tensors_;
    std::unordered_map<std::string, std::size_t> tensor_at_;
};

// What a GGUF file says about its tokenizer (tokenizer.ggml.* and tokenizer.chat_template).
struct GgufTokenizer {
    std::string model;                // "llama" (SentencePiece) or "gpt2" (byte-level BPE)
    std::string pre;                  // name of the pre-tokenizer, e.g. "smollm"; may be empty
    std::vector<std::string> tokens;  // by id
    std::vector<float> scores;        // as many as tokens, or none
    std::vector<std::int32_t>
        token_types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; or none
    std::vector<std::string> merges;  // "left right", best first
    TokenId bos = -1;                 // -1: none named
    TokenId eos = -1;
    TokenId eot = -1;
    TokenId unknown = -1;
    TokenId padding = -1;
    std::optional<bool> add_bos;
    std::optional<bool> add_eos;
    std::optional<bool> add_space_prefix;
    std::string chat_template;  // data only: it is hashed to find the format, never executed
};

// kNotFound when the file has no tokenizer.ggml.tokens; kInvalidArgument when lengths or ids do not fit
// together.
Result<GgufTokenizer> gguf_tokenizer(const GgufFile& file);

}  // namespace ostal::engine
