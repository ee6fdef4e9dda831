// Bytes: spans, fixed-endian loads and stores, text encodings, checked arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace ostal {

using ByteSpan = std::span<const std::uint8_t>;
using MutableByteSpan = std::span<std::uint8_t>;
using Bytes = std::vector<std::uint8_t>;

inline ByteSpan as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteSpan bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline void append(Bytes& out, ByteSpan bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

// Little- and big-endian loads and stores of unsigned integers; no alignment needed, no bounds checked.
template <typename T>
T load_le(const std::uint8_t* from) {
    static_assert(std::is_unsigned_v<T>);
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value | static_cast<T>(static_cast<T>(from[i]) << (8 * i)));
    }
    return value;
}
template <typename T>
void store_le(std::uint8_t* to, T value) {
    static_assert(std::is_unsigned_v<T>);
    for (std::size_t i = 0; i < sizeof(T); ++i) to[i] = static_cast<std::uint8_t>(value >> (8 * i));
}
template <typename T>
T load_be(const std::uint8_t* from) {
    static_assert(std::is_unsigned_v<T>);
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value | static_cast<T>(static_cast<T>(from[i]) << (8 * (sizeof(T) - 1 - i))));
    }
    return value;
}
template <typename T>
void store_be(std::uint8_t* to, T value) {
    static_assert(std::is_unsigned_v<T>);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        to[i] = static_cast<std::uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
    }
}

// a op b, or false when the result does not fit. For every length that comes from a file or a peer.
template <typename T>
[[nodiscard]] bool checked_add(T a, T b, T& out) {
    return !__builtin_add_overflow(a, b, &out);
}
template <typename T>
[[nodiscard]] bool checked_mul(T a, T b, T& out) {
    return !__builtin_mul_overflow(a, b, &out);
}

// A forward-only little-endian reader over untrusted bytes; every read is bounds-checked.
class ByteReader {
public:
    explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}
    std::size_t position() const { return position_; }
    std::size_t remaining() const { return bytes_.size() - position_; }
    Result<ByteSpan> take(std::uint64_t count);
    template <typename T>
    Result<T> le() {
        auto bytes = take(sizeof(T));
        if (!bytes) return fail(std::move(bytes).error());
        return load_le<T>(bytes->data());
    }

private:
    ByteSpan bytes_;
    std::size_t position_ = 0;
};

std::string to_hex(ByteSpan bytes);
// Lower- or upper-case pairs; kInvalidArgument otherwise.
Result<Bytes> from_hex(std::string_view text);
// RFC 4648 section 4, with padding.
std::string to_base64(ByteSpan bytes);
Result<Bytes> from_base64(std::string_view text);
// RFC 4648 section 5, without padding.
std::string to_base64url(ByteSpan bytes);
// RFC 4648 section 6, lower case, without padding (the outside form of ids).
std::string to_base32_lower(ByteSpan bytes);
// The strict inverse: only canonical text (unused low bits zero) is accepted.
Result<Bytes> from_base32_lower(std::string_view text);

// Length in bytes of the UTF-8 character that `text` (not empty) begins with; 0 when it is the beginning of a
// character that is not complete, -1 when its first byte begins no character (RFC 3629).
int utf8_character(std::string_view text);
// Whole text is valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF).
bool is_valid_utf8(std::string_view text);
// Length in bytes of the longest prefix that ends on a character border; a broken byte counts as one
// character of its own. What follows is an incomplete character of 1 to 3 bytes.
std::size_t utf8_complete_prefix(std::string_view text);

}  // namespace ostal
