// The Unicode character classes that pre-tokenizers ask for. Unicode version: see unicode_table.inc.
#pragma once

#include <cstdint>
#include <string_view>

namespace ostal::engine {

// Disjoint. A letter (\p{L}) is kUpper, kLower or kLetter. The order is that of
// tests/tools/make_unicode_table.py.
enum class CharClass : std::uint8_t {
    kOther,   // all else, unassigned code points too
    kUpper,   // Lu, Lt
    kLower,   // Ll
    kLetter,  // Lm, Lo
    kMark,    // \p{M}
    kNumber,  // \p{N}
    kSpace,   // \s: White_Space
};

CharClass char_class(char32_t point);

inline bool is_letter(CharClass c) {
    return c == CharClass::kUpper || c == CharClass::kLower || c == CharClass::kLetter;
}

struct Utf8Char {
    char32_t point = 0;
    std::size_t size = 1;  // bytes
};
// The first character of a non-empty, valid text.
Utf8Char first_char(std::string_view text);

}  // namespace ostal::engine
