// What the commands share: models, tokenizers and their input.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "appliance/cli/ostal_engine/commands.h"
#include "engine/io/model_files.h"
#include "engine/io/weight_source.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/known_templates.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine_tool {

struct OpenModel {
    std::unique_ptr<engine::FolderSource> source;
    engine::ModelFiles files;
};
// The model that --model names, its headers read and checked.
Result<OpenModel> open_model(const Arguments& arguments);

struct Text {
    std::unique_ptr<engine::Tokenizer> tokenizer;
    std::optional<engine::KnownTemplate> known;  // of the template that the model carries
};
// From --model or --tokenizer; kUsage unless exactly one is given. --tokenizer takes a SentencePiece model, a
// tekken.json, a tokenizer.json, or a .gguf file of which the vocabulary alone is read.
Result<Text> open_text(const Arguments& arguments);
// The same for a model that is open already.
std::optional<engine::KnownTemplate> known_template(const engine::WeightSource& source,
                                                    const engine::GgufFile* gguf);

struct ChatFormat {
    engine::Format format;
    std::string default_system;
};
// --format, else that of the known template; the system text that the model's own template has for `format`.
Result<ChatFormat> chat_format(const Arguments& arguments, const std::optional<engine::KnownTemplate>& known);

// Ids of a plain text; bos in front when the model wants one and `special` is true.
Result<std::vector<engine::TokenId>> encode_text(const engine::Tokenizer& tokenizer, std::string_view text,
                                                 bool special);

// All of the input; kTooLarge above 64 MiB.
Result<std::string> read_input(const Terminal& terminal);
json::Array ids_value(const std::vector<engine::TokenId>& ids);

// The options that several commands have.
Option model_option();
Option tokenizer_option();
Option format_option();
Option threads_option();
Option isa_option();
// --isa, or "": kUsage for a name that is none; whether this CPU has it is the backend's to say.
Result<std::string> isa_of(const Arguments& arguments);

}  // namespace ostal::engine_tool
