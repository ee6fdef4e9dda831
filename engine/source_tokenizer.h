// The tokenizer that lies beside a model's weights, whatever the file format.
#pragma once

#include <memory>
#include <optional>

#include "base/result.h"
#include "engine/io/model_files.h"
#include "engine/io/weight_source.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace ostal::engine {

// From the source's tokenizer file (tokenizer/load.h says which), else from a GGUF file's metadata.
// kInvalidArgument (malformed, no tokenizer, more ids than the model's vocabulary), kUnsupported (names
// what), kTooLarge, and what the source returns.
Result<std::unique_ptr<Tokenizer>> load_source_tokenizer(const WeightSource& source, const ModelFiles& files);

// The one embedded in a GGUF file. Errors as above; kNotFound when it has none.
Result<std::unique_ptr<Tokenizer>> load_gguf_tokenizer(const GgufFile& file);

// The vocabulary of the source's tokenizer file as GGUF embeds it (tokenizer/embed.h has the errors), filled
// up to the model's vocabulary; nothing when the source has no tokenizer file.
Result<std::optional<EmbeddedVocabulary>> source_vocabulary(const WeightSource& source,
                                                            const ModelFiles& files);

}  // namespace ostal::engine
