#include "tests/support/gguf_builder.h"

#include <bit>

namespace ostal::test {

void put_le32(Bytes& out, std::uint32_t value) {
    std::uint8_t raw[4];
    store_le(raw, value);
    out.insert(out.end(), raw, raw + sizeof raw);
}
void put_le64(Bytes& out, std::uint64_t value) {
    std::uint8_t raw[8];
    store_le(raw, value);
    out.insert(out.end(), raw, raw + sizeof raw);
}
void put_gguf_text(Bytes& out, std::string_view text) {
    put_le64(out, text.size());
    append(out, as_bytes(text));
}

namespace {
std::uint32_t number(GgufType type) { return static_cast<std::uint32_t>(type); }
}  // namespace

void GgufBuilder::key_and_type(std::string_view key, std::uint32_t type) {
    put_gguf_text(values_, key);
    put_le32(values_, type);
    ++value_count_;
}
void GgufBuilder::add_raw(std::string_view key, std::uint32_t type, const Bytes& value) {
    key_and_type(key, type);
    append(values_, value);
}
void GgufBuilder::add_u32(std::string_view key, std::uint32_t value) {
    key_and_type(key, number(GgufType::kU32));
    put_le32(values_, value);
}
void GgufBuilder::add_u64(std::string_view key, std::uint64_t value) {
    key_and_type(key, number(GgufType::kU64));
    put_le64(values_, value);
}
void GgufBuilder::add_i32(std::string_view key, std::int32_t value) {
    key_and_type(key, number(GgufType::kI32));
    put_le32(values_, static_cast<std::uint32_t>(value));
}
void GgufBuilder::add_f32(std::string_view key, float value) {
    key_and_type(key, number(GgufType::kF32));
    put_le32(values_, std::bit_cast<std::uint32_t>(value));
}
void GgufBuilder::add_bool(std::string_view key, bool value) {
    key_and_type(key, number(GgufType::kBool));
    values_.push_back(value ? 1 : 0);
}
void GgufBuilder::add_text(std::string_view key, std::string_view value) {
    key_and_type(key, number(GgufType::kString));
    put_gguf_text(values_, value);
}
void GgufBuilder::add_texts(std::string_view key, const std::vector<std::string>& values) {
    key_and_type(key, number(GgufType::kArray));
    put_le32(values_, number(GgufType::kString));
    put_le64(values_, values.size());
    for (const std::string& value : values) put_gguf_text(values_, value);
}
void GgufBuilder::add_f32s(std::string_view key, const std::vector<float>& values) {
    key_and_type(key, number(GgufType::kArray));
    put_le32(values_, number(GgufType::kF32));
    put_le64(values_, values.size());
    for (const float value : values) put_le32(values_, std::bit_cast<std::uint32_t>(value));
}
void GgufBuilder::add_i32s(std::string_view key, const std::vector<std::int32_t>& values) {
    key_and_type(key, number(GgufType::kArray));
    put_le32(values_, number(GgufType::kI32));
    put_le64(values_, values.size());
    for (const std::int32_t value : values) put_le32(values_, static_cast<std::uint32_t>(value));
}

void GgufBuilder::add_tensor(std::string_view name, const std::vector<std::int64_t>& shape,
                             std::uint32_t type, Bytes content) {
    std::vector<std::uint64_t> columns_first;
    for (auto size = shape.rbegin(); size != shape.rend(); ++size) {
        columns_first.push_back(static_cast<std::uint64_t>(*size));
    }
    add_tensor_entry(name, columns_first, type, data_.size());
    append(data_, content);
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
}

void GgufBuilder::add_tensor_entry(std::string_view name, const std::vector<std::uint64_t>& columns_first,
                                   std::uint32_t type, std::uint64_t offset) {
    put_gguf_text(directory_, name);
    put_le32(directory_, static_cast<std::uint32_t>(columns_first.size()));
    for (const std::uint64_t size : columns_first) put_le64(directory_, size);
    put_le32(directory_, type);
    put_le64(directory_, offset);
    ++tensor_count_;
}

Bytes GgufBuilder::build() const {
    Bytes out;
    append(out, as_bytes("GGUF"));
    put_le32(out, version);
    put_le64(out, tensor_count_ + extra_tensors);
    put_le64(out, value_count_ + extra_values);
    append(out, values_);
    append(out, directory_);
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    append(out, data_);
    return out;
}

}  // namespace ostal::test
