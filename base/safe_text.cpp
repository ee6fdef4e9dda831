#include "base/safe_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "base/bytes.h"
#include "base/check.h"

namespace ostal {
namespace {

struct Range {
    std::uint32_t first;
    std::uint32_t last;
};
// Unicode 15: Cc, Zl, Zp, the Cf that change how a line reads, tags, and the non-characters of the BMP.
constexpr std::array kHarmful = {
    Range{0x0000, 0x001F}, Range{0x007F, 0x009F}, Range{0x00AD, 0x00AD}, Range{0x061C, 0x061C},
    Range{0x180E, 0x180E}, Range{0x200B, 0x200F}, Range{0x2028, 0x202E}, Range{0x2060, 0x206F},
    Range{0xFDD0, 0xFDEF}, Range{0xFEFF, 0xFEFF}, Range{0xFFF9, 0xFFFB}, Range{0xE0000, 0xE0FFF},
};

bool is_harmful(std::uint32_t point) {
    if ((point & 0xFFFEU) == 0xFFFEU) return true;  // the last two of each plane
    return std::any_of(kHarmful.begin(), kHarmful.end(),
                       [&](const Range& range) { return point >= range.first && point <= range.last; });
}

// Length of the valid character at the front of `text` (not empty), or 0 when it is broken.
std::size_t character_length(std::string_view text) {
    for (std::size_t length = 1; length <= std::min<std::size_t>(4, text.size()); ++length) {
        if (is_valid_utf8(text.substr(0, length))) return length;
    }
    return 0;
}

std::uint32_t code_point(std::string_view character) {
    const auto lead = static_cast<std::uint8_t>(character[0]);
    if (character.size() == 1) return lead;
    std::uint32_t point = lead & (0xFFU >> (character.size() + 1));
    for (const char c : character.substr(1)) point = (point << 6) | (static_cast<std::uint8_t>(c) & 0x3FU);
    return point;
}

// `\u{202e}`
std::string escape(char kind, std::uint32_t value) {
    char digits[12];
    std::snprintf(digits, sizeof digits, "%02x", value);
    return std::string("\\") + kind + "{" + digits + "}";
}

}  // namespace

bool is_safe_text(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        if (length == 0 || is_harmful(code_point(text.substr(0, length)))) return false;
        text.remove_prefix(length);
    }
    return true;
}

std::string safe_text(std::string_view text, std::size_t limit_bytes) {
    CHECK_GE(limit_bytes, 32U);
    const std::string note = "...[" + std::to_string(text.size()) + " bytes]";
    std::string out;
    std::size_t cut = 0;  // where `out` ends when the note must still fit
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
        if (length == 0) {
            out += escape('x', static_cast<std::uint8_t>(character[0]));
        } else if (is_harmful(code_point(character))) {
            out += escape('u', code_point(character));
        } else if (character == "\\") {
            out += "\\\\";
        } else {
            out += character;
        }
        if (out.size() + note.size() <= limit_bytes) cut = out.size();
        if (out.size() > limit_bytes) return out.substr(0, cut) + note;
        text.remove_prefix(character.size());
    }
    return out;
}

}  // namespace ostal
