// Which instruct format a published chat template renders: a table by the SHA-256 of the template's text.
// Callers hash (the engine has no cryptography); the template itself is never executed.
#pragma once

#include <optional>
#include <string_view>

#include "engine/tokenizer/chat_template.h"

namespace ostal::engine {

struct KnownTemplate {
    std::string_view sha256;  // lower-case hex, of the UTF-8 text of `chat_template`
    std::string_view models;  // whose template it is
    Format format = Format::kChatMl;
    std::string_view default_system;  // what the template says when the conversation has no system message
};

inline constexpr KnownTemplate kKnownTemplates[] = {
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", "SmolLM2 Instruct", Format::kChatMl,
     "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
};

inline std::optional<KnownTemplate> find_known_template(std::string_view sha256) {
    for (const KnownTemplate& known : kKnownTemplates) {
        if (known.sha256 == sha256) return known;
    }
    return std::nullopt;
}

}  // namespace ostal::engine
