#include "security/identity/names.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/safe_text.h"

namespace ostal::security {
namespace {

constexpr std::size_t kMaxNameCharacters = 64;

// UTF-8 leads of the combining blocks U+0300-036F, 1AB0-1AFF, 1DC0-1DFF, 20D0-20FF and FE20-FE2F: without
// them a Latin, Greek or Cyrillic name has one spelling (its composed form).
bool has_combining_mark(std::string_view name) {
    for (std::size_t i = 0; i + 1 < name.size(); ++i) {
        const auto a = static_cast<unsigned char>(name[i]);
        const auto b = static_cast<unsigned char>(name[i + 1]);
        const auto c = i + 2 < name.size() ? static_cast<unsigned char>(name[i + 2]) : 0U;
        if (a == 0xCC || (a == 0xCD && b <= 0xAF)) return true;
        if (a == 0xE1 && ((b == 0xAA && c >= 0xB0) || b == 0xAB || b == 0xB7)) return true;
        if (a == 0xE2 && b == 0x83 && c >= 0x90) return true;
        if (a == 0xEF && b == 0xB8 && c >= 0xA0 && c <= 0xAF) return true;
    }
    return false;
}

// No-break and typographic spaces, which look like others.
bool has_odd_space(std::string_view name) {
    return name.find("\xC2\xA0") != std::string_view::npos ||
           name.find("\xE2\x80\x80") != std::string_view::npos ||
           name.find("\xE2\x80\xAF") != std::string_view::npos ||
           name.find("\xE3\x80\x80") != std::string_view::npos || name.find("  ") != std::string_view::npos ||
           name.starts_with(' ') || name.ends_with(' ');
}

std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

Status check_name(std::string_view name) {
    const auto refuse = [](const char* why) {
        return fail(Code::kUnprocessable, std::string("the name ") + why);
    };
    if (name.empty()) return refuse("is empty");
    if (!is_safe_text(name)) return refuse("is not UTF-8 or holds control or formatting characters");
    if (characters(name) > kMaxNameCharacters) return refuse("has more than 64 characters");
    if (has_combining_mark(name)) return refuse("holds combining characters: use the composed form");
    if (has_odd_space(name)) return refuse("has spaces at its ends, in a row, or of an unusual kind");
    if (name.find_first_of("\"'<>\\&") != std::string_view::npos) return refuse("holds one of \" ' < > \\ &");
    return {};
}

std::string name_key(std::string_view name) {
    std::string key(name);
    for (char& c : key) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return key;
}

}  // namespace ostal::security
