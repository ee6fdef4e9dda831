// Which instruct format a published chat template renders: a table by the SHA-256 of the template's text.
// Callers hash (the engine has no cryptography); the template itself is never executed. Tools that link no
// cryptography look a template up by its FNV-1a sum: a match chooses a format and grants nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/tokenizer/chat_template.h"

namespace ostal::engine {

struct KnownTemplate {
    std::string_view sha256;  // lower-case hex, of the UTF-8 text of `chat_template`
    std::string_view models;  // whose template it is
    Format format = Format::kChatMl;
    std::uint64_t fnv1a = 0;          // of the same text, 64 bits
    std::string_view default_system;  // what the template says when the conversation has no system message
};

inline constexpr KnownTemplate kKnownTemplates[] = {
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", "SmolLM2 Instruct", Format::kChatMl,
     0x45EC583D4D25BC3AULL,
     "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
};

inline std::optional<KnownTemplate> find_known_template(std::string_view sha256) {
    for (const KnownTemplate& known : kKnownTemplates) {
        if (known.sha256 == sha256) return known;
    }
    return std::nullopt;
}

inline std::optional<KnownTemplate> find_known_template_text(std::string_view text) {
    std::uint64_t sum = 0xCBF29CE484222325ULL;
    for (const char c : text) sum = (sum ^ static_cast<std::uint8_t>(c)) * 0x100000001B3ULL;
    for (const KnownTemplate& known : kKnownTemplates) {
        if (known.fnv1a == sum) return known;
    }
    return std::nullopt;
}

}  // namespace ostal::engine
