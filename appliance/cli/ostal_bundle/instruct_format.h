// Which instruct format a model has, from the chat template that it carries.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "engine/io/weight_source.h"

namespace ostal::bundle {

struct InstructFormat {
    std::string name;            // "v3", "chatml" ...
    std::string default_system;  // may be empty
};

// The template's text: tokenizer_config.json's `chat_template` (the one named "default" of a list), or a GGUF
// file's tokenizer.chat_template. Nothing when the model carries none.
Result<std::optional<std::string>> template_of(const engine::WeightSource& model);

// By the SHA-256 of the template in the engine's table. kUnprocessable asks for --format: there is no
// template, or an unknown one (its digest is named).
Result<InstructFormat> format_of(const engine::WeightSource& model);

}  // namespace ostal::bundle
