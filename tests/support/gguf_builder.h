// Writes GGUF files byte by byte, also ones that are wrong on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace ostal::test {

// Value types of GGUF metadata (docs/gguf.md of the ggml project).
enum class GgufType : std::uint32_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kString,
    kArray,
    kU64,
    kI64,
    kF64
};

class GgufBuilder {
public:
    std::uint32_t version = 3;
    std::uint64_t alignment =
        32;  // of the data; written as metadata only by add_u32("general.alignment", ..)

    void add_u32(std::string_view key, std::uint32_t value);
    void add_u64(std::string_view key, std::uint64_t value);
    void add_i32(std::string_view key, std::int32_t value);
    void add_f32(std::string_view key, float value);
    void add_bool(std::string_view key, bool value);
    void add_text(std::string_view key, std::string_view value);
    void add_texts(std::string_view key, const std::vector<std::string>& values);
    void add_f32s(std::string_view key, const std::vector<float>& values);
    void add_i32s(std::string_view key, const std::vector<std::int32_t>& values);
    // Any value: its type and its bytes as they stand in the file.
    void add_raw(std::string_view key, std::uint32_t type, const Bytes& value);

    // `shape` outermost first; ggml type number (0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0,
    // 12 Q4_K, 13 Q5_K, 14 Q6_K, 30 BF16).
    void add_tensor(std::string_view name, const std::vector<std::int64_t>& shape, std::uint32_t type,
                    Bytes content);
    // A directory entry as given, with no bytes of its own.
    void add_tensor_entry(std::string_view name, const std::vector<std::uint64_t>& columns_first,
                          std::uint32_t type, std::uint64_t offset);

    Bytes build() const;
    // The counts of the header, when they shall differ from what was added.
    std::uint64_t extra_tensors = 0;
    std::uint64_t extra_values = 0;

private:
    void key_and_type(std::string_view key, std::uint32_t type);
    Bytes values_;
    std::uint64_t value_count_ = 0;
    Bytes directory_;
    std::uint64_t tensor_count_ = 0;
    Bytes data_;
};

// Appends little-endian integers and GGUF strings.
void put_le32(Bytes& out, std::uint32_t value);
void put_le64(Bytes& out, std::uint64_t value);
void put_gguf_text(Bytes& out, std::string_view text);

}  // namespace ostal::test
