#include "engine/io/gguf_writer.h"

#include <bit>

#include "base/check.h"

namespace ostal::engine {
namespace {

constexpr std::uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9;
constexpr std::uint64_t kAlignment = 32;  // the format's default, so it is not written

template <typename T>
void put(Bytes& out, T value) {
    std::uint8_t raw[sizeof(T)];
    store_le(raw, value);
    out.insert(out.end(), raw, raw + sizeof raw);
}
void put_text(Bytes& out, std::string_view text) {
    put(out, static_cast<std::uint64_t>(text.size()));
    append(out, as_bytes(text));
}

std::uint64_t aligned(std::uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

std::uint32_t gguf_type(DType dtype) {
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
        case DType::kI32: break;
    }
    CHECK_UNREACHABLE("a weight of integers");
}

void GgufHeader::key_and_type(std::string_view key, std::uint32_t type) {
    put_text(values_, key);
    put(values_, type);
    ++value_count_;
}
void GgufHeader::array(std::string_view key, std::uint32_t type, std::size_t count) {
    key_and_type(key, kArray);
    put(values_, type);
    put(values_, static_cast<std::uint64_t>(count));
}

void GgufHeader::add_u32(std::string_view key, std::uint32_t value) {
    key_and_type(key, kU32);
    put(values_, value);
}
void GgufHeader::add_f32(std::string_view key, float value) {
    key_and_type(key, kF32);
    put(values_, std::bit_cast<std::uint32_t>(value));
}
void GgufHeader::add_bool(std::string_view key, bool value) {
    key_and_type(key, kBool);
    put(values_, static_cast<std::uint8_t>(value ? 1 : 0));
}
void GgufHeader::add_text(std::string_view key, std::string_view value) {
    key_and_type(key, kText);
    put_text(values_, value);
}
void GgufHeader::add_texts(std::string_view key, const std::vector<std::string>& values) {
    array(key, kText, values.size());
    for (const std::string& value : values) put_text(values_, value);
}
void GgufHeader::add_f32s(std::string_view key, const std::vector<float>& values) {
    array(key, kF32, values.size());
    for (const float value : values) put(values_, std::bit_cast<std::uint32_t>(value));
}
void GgufHeader::add_bools(std::string_view key, const std::vector<bool>& values) {
    array(key, kBool, values.size());
    for (const bool value : values) put(values_, static_cast<std::uint8_t>(value ? 1 : 0));
}
void GgufHeader::add_i32s(std::string_view key, const std::vector<std::int32_t>& values) {
    array(key, kI32, values.size());
    for (const std::int32_t value : values) put(values_, static_cast<std::uint32_t>(value));
}
void GgufHeader::add_stored(std::string_view key, ByteSpan type_and_content) {
    put_text(values_, key);
    append(values_, type_and_content);
    ++value_count_;
}

std::uint64_t GgufHeader::add_tensor(std::string_view name, const std::vector<std::int64_t>& shape,
                                     DType dtype) {
    std::int64_t rows = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    const std::uint64_t begin = data_bytes_;
    put_text(directory_, name);
    put(directory_, static_cast<std::uint32_t>(shape.size()));
    for (auto size = shape.rbegin(); size != shape.rend(); ++size) {
        put(directory_, static_cast<std::uint64_t>(*size));
    }
    put(directory_, gguf_type(dtype));
    put(directory_, begin);
    ++tensor_count_;
    data_bytes_ = aligned(begin + static_cast<std::uint64_t>(rows * row_bytes(dtype, shape.back())));
    return begin;
}

Bytes GgufHeader::build() const {
    Bytes out;
    append(out, as_bytes(std::string_view("GGUF")));
    put(out, std::uint32_t{3});
    put(out, tensor_count_);
    put(out, value_count_);
    append(out, values_);
    append(out, directory_);
    out.resize(static_cast<std::size_t>(aligned(out.size())));
    return out;
}

}  // namespace ostal::engine
