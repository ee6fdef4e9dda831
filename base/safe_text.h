// Text from outside made harmless for logs, records, terminals and names.
//
// Harmful are control characters (C0, DEL, C1), line and paragraph separators, bidirectional and zero-width
// formatting, tag characters and non-characters (Unicode 15), and broken UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ostal {

// Harmful characters become visible text `\u{202e}`, broken bytes `\x{ff}`, a backslash `\\`; what is
// longer than `limit_bytes` (>= 32) is cut at a character and ends in "...[65536 bytes]", the length it
// had.
std::string safe_text(std::string_view text, std::size_t limit_bytes);

// Valid UTF-8 without a harmful character (a backslash is none).
bool is_safe_text(std::string_view text);

}  // namespace ostal
