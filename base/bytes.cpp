#include "base/bytes.h"

#include <array>

namespace ostal {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase32Lower = "abcdefghijklmnopqrstuvwxyz234567";

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Groups of `bits` from the most significant bit on; the last one is filled with zero bits.
std::string encode_bits(ByteSpan bytes, std::string_view alphabet, unsigned bits) {
    std::string out;
    out.reserve((bytes.size() * 8 + bits - 1) / bits);
    std::uint32_t pending = 0;
    unsigned held = 0;
    for (const std::uint8_t byte : bytes) {
        pending = (pending << 8) | byte;
        held += 8;
        while (held >= bits) {
            held -= bits;
            out += alphabet[(pending >> held) & ((1U << bits) - 1)];
        }
        pending &= (1U << held) - 1;
    }
    if (held > 0) out += alphabet[(pending << (bits - held)) & ((1U << bits) - 1)];
    return out;
}

Result<Bytes> decode_bits(std::string_view text, std::string_view alphabet, unsigned bits) {
    Bytes out;
    out.reserve(text.size() * bits / 8);
    std::uint32_t pending = 0;
    unsigned held = 0;
    for (const char c : text) {
        const std::size_t value = alphabet.find(c);
        if (value == std::string_view::npos) {
            return fail(Code::kInvalidArgument, "a character outside the alphabet of the encoding");
        }
        pending = (pending << bits) | static_cast<std::uint32_t>(value);
        held += bits;
        if (held >= 8) {
            held -= 8;
            out.push_back(static_cast<std::uint8_t>(pending >> held));
            pending &= (1U << held) - 1;
        }
    }
    if (held >= bits || pending != 0) {
        return fail(Code::kInvalidArgument, "not the canonical encoding of whole bytes");
    }
    return out;
}

}  // namespace

Result<ByteSpan> ByteReader::take(std::uint64_t count) {
    if (count > remaining()) {
        return fail(Code::kInvalidArgument, "the data ends at byte " + std::to_string(bytes_.size()) +
                                                ", " + std::to_string(count) + " more were due at byte " +
                                                std::to_string(position_));
    }
    const ByteSpan out = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return out;
}

std::string to_hex(ByteSpan bytes) {
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        out += kHexDigits[byte >> 4];
        out += kHexDigits[byte & 15];
    }
    return out;
}

Result<Bytes> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return fail(Code::kInvalidArgument, "an odd number of hex digits");
    Bytes out;
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_value(text[i]);
        const int low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) return fail(Code::kInvalidArgument, "not a hex digit");
        out.push_back(static_cast<std::uint8_t>(high * 16 + low));
    }
    return out;
}

std::string to_base64(ByteSpan bytes) {
    std::string out = encode_bits(bytes, kBase64, 6);
    while (out.size() % 4 != 0) out += '=';
    return out;
}

Result<Bytes> from_base64(std::string_view text) {
    if (text.size() % 4 != 0) return fail(Code::kInvalidArgument, "base64 text of a wrong length");
    for (int padding = 0; padding < 2 && !text.empty() && text.back() == '='; ++padding) {
        text.remove_suffix(1);
    }
    return decode_bits(text, kBase64, 6);
}

std::string to_base64url(ByteSpan bytes) { return encode_bits(bytes, kBase64Url, 6); }
std::string to_base32_lower(ByteSpan bytes) { return encode_bits(bytes, kBase32Lower, 5); }
Result<Bytes> from_base32_lower(std::string_view text) { return decode_bits(text, kBase32Lower, 5); }

int utf8_character(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t lead = at(0);
    if (lead < 0x80) return 1;
    int length = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return -1;
    }
    for (int i = 1; i < length; ++i) {
        if (static_cast<std::size_t>(i) >= text.size()) return 0;
        if (at(static_cast<std::size_t>(i)) < low || at(static_cast<std::size_t>(i)) > high) return -1;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

bool is_valid_utf8(std::string_view text) {
    while (!text.empty()) {
        const int length = utf8_character(text);
        if (length <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(length));
    }
    return true;
}

std::size_t utf8_complete_prefix(std::string_view text) {
    const std::size_t from = text.size() > 3 ? text.size() - 3 : 0;
    for (std::size_t i = from; i < text.size(); ++i) {
        if (utf8_character(text.substr(i)) == 0) return i;
    }
    return text.size();
}

}  // namespace ostal
