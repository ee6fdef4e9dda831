// The beginning of a GGUF file, version 3: metadata and directory, everything but the tensors' bytes.
//
// Source: docs/gguf.md of the ggml project.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "engine/core/dtype.h"

namespace ostal::engine {

// Values and tensors are written in the order in which they are added. Keys and names are each added once.
class GgufHeader {
public:
    void add_u32(std::string_view key, std::uint32_t value);
    void add_f32(std::string_view key, float value);
    void add_bool(std::string_view key, bool value);
    void add_text(std::string_view key, std::string_view value);
    void add_texts(std::string_view key, const std::vector<std::string>& values);
    void add_f32s(std::string_view key, const std::vector<float>& values);
    void add_bools(std::string_view key, const std::vector<bool>& values);
    void add_i32s(std::string_view key, const std::vector<std::int32_t>& values);
    // Type and content as another file has them (GgufEntry).
    void add_stored(std::string_view key, ByteSpan type_and_content);

    // `shape` outermost first. Returns where the tensor's bytes begin, from the end of the header.
    std::uint64_t add_tensor(std::string_view name, const std::vector<std::int64_t>& shape, DType dtype);

    // The header, filled up to the alignment: the data begin behind it.
    Bytes build() const;
    // Of all tensors with the gaps between them, filled up at the end.
    std::uint64_t data_bytes() const { return data_bytes_; }

private:
    void key_and_type(std::string_view key, std::uint32_t type);
    void array(std::string_view key, std::uint32_t type, std::size_t count);
    Bytes values_;
    std::uint64_t value_count_ = 0;
    Bytes directory_;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t data_bytes_ = 0;
};

// GGUF's number of a weight type. Integers are no weights: CHECK.
std::uint32_t gguf_type(DType dtype);

}  // namespace ostal::engine
