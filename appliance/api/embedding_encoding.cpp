#include "appliance/api/embedding_encoding.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace ostal::api {
namespace {

constexpr std::array<std::pair<std::string_view, EmbeddingType>, 5> kTypes = {{
    {"float", EmbeddingType::kFloat},
    {"int8", EmbeddingType::kInt8},
    {"uint8", EmbeddingType::kUint8},
    {"binary", EmbeddingType::kBinary},
    {"ubinary", EmbeddingType::kUbinary},
}};

std::vector<int> to_int8(const std::vector<float>& embedding) {
    std::vector<int> out;
    for (const float value : embedding) out.push_back(static_cast<int>(std::round(127.0F * value)));
    return out;
}

std::vector<int> to_bits(const std::vector<float>& embedding) {
    std::vector<int> out((embedding.size() + 7) / 8);
    for (std::size_t i = 0; i < embedding.size(); ++i) {
        if (embedding[i] > 0) out[i / 8] |= 0x80 >> (i % 8);
    }
    return out;
}

std::vector<int> plus(std::vector<int> values, int offset) {
    for (int& value : values) value += offset;
    return values;
}

std::vector<int> to_integers(const std::vector<float>& embedding, EmbeddingType type) {
    switch (type) {
        case EmbeddingType::kInt8: return to_int8(embedding);
        case EmbeddingType::kUint8: return plus(to_int8(embedding), 128);
        case EmbeddingType::kUbinary: return to_bits(embedding);
        case EmbeddingType::kBinary: return plus(to_bits(embedding), -128);
        case EmbeddingType::kFloat: break;
    }
    CHECK(false);
    return {};
}

json::Value as_base64(const Bytes& bytes) { return json::Value(to_base64(bytes)); }

}  // namespace

std::optional<EmbeddingType> embedding_type(std::string_view name) {
    for (const auto& [known, type] : kTypes) {
        if (known == name) return type;
    }
    return std::nullopt;
}

std::vector<float> shorten(std::vector<float> embedding, std::size_t dimensions) {
    CHECK(dimensions >= 1 && dimensions <= embedding.size());
    if (dimensions == embedding.size()) return embedding;
    embedding.resize(dimensions);
    double squares = 0;
    for (const float value : embedding) squares += static_cast<double>(value) * static_cast<double>(value);
    if (squares == 0) return embedding;
    const double scale = 1.0 / std::sqrt(squares);
    for (float& value : embedding) value = static_cast<float>(static_cast<double>(value) * scale);
    return embedding;
}

json::Value encode_embedding(const std::vector<float>& embedding, EmbeddingType type, bool base64) {
    json::Array list;
    Bytes bytes;
    if (type == EmbeddingType::kFloat) {
        if (base64) {
            bytes.resize(embedding.size() * sizeof(float));
            for (std::size_t i = 0; i < embedding.size(); ++i) {
                store_le(bytes.data() + i * sizeof(float), std::bit_cast<std::uint32_t>(embedding[i]));
            }
            return as_base64(bytes);
        }
        for (const float value : embedding) list.emplace_back(static_cast<double>(value));
        return list;
    }
    for (const int value : to_integers(embedding, type)) {
        if (base64) {
            bytes.push_back(static_cast<std::uint8_t>(value));
        } else {
            list.emplace_back(value);
        }
    }
    return base64 ? as_base64(bytes) : json::Value(std::move(list));
}

}  // namespace ostal::api
