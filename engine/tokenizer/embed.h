// A tokenizer file as GGUF embeds vocabularies: the way back of load_embedded_tokenizer().
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/vocabulary.h"

namespace ostal::engine {

// The vocabulary of a file as load_tokenizer_file() reads it, filled up to `vocab` tokens (the rows of the
// model's embedding) with unused ones named "[PAD<id>]". load_embedded_tokenizer() of the result gives the
// same ids for every text. kUnsupported, by name, for what GGUF's metadata cannot say so that it does: a
// tekken.json, a tokenizer.json that is not byte-level or cuts text in a way that has no name there, a
// SentencePiece model that keeps spaces or has byte pieces it does not use. Else what reading the file gives.
Result<EmbeddedVocabulary> embedded_vocabulary(ByteSpan bytes, std::string_view name,
                                               const SpecialIds& special, std::int32_t vocab);

}  // namespace ostal::engine
