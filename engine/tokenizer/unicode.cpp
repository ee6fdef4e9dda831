#include "engine/tokenizer/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace ostal::engine {
namespace {

constexpr std::uint32_t kRanges[] = {
#include "engine/tokenizer/unicode_table.inc"
};
constexpr std::uint32_t kPointMask = 0xFFFFFF;

CharClass find_class(char32_t point) {
    const auto* after =
        std::upper_bound(std::begin(kRanges), std::end(kRanges), point,
                         [](char32_t p, std::uint32_t range) { return p < (range & kPointMask); });
    return static_cast<CharClass>(*(after - 1) >> 24);
}

}  // namespace

CharClass char_class(char32_t point) {
    static const std::array<CharClass, 128> kAscii = [] {
        std::array<CharClass, 128> table{};
        for (char32_t p = 0; p < 128; ++p) table[p] = find_class(p);
        return table;
    }();
    return point < 128 ? kAscii[point] : find_class(point);
}

Utf8Char first_char(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<char32_t>(static_cast<std::uint8_t>(text[i])); };
    const char32_t lead = at(0);
    if (lead < 0x80) return {lead, 1};
    if (lead < 0xE0) return {(lead & 0x1F) << 6 | (at(1) & 0x3F), 2};
    if (lead < 0xF0) return {(lead & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F), 3};
    return {(lead & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F), 4};
}

}  // namespace ostal::engine
