// Reader of Hugging Face `tokenizer.json` files of the BPE kinds.
//
// Source: the serialisation of Hugging Face tokenizers 0.19 to 0.23. Read are byte-level BPE (Split and
// Digits pre-tokenizers with known patterns, ByteLevel) and SentencePiece-like BPE with byte fallback
// (Prepend and Replace normalisers, Metaspace). `truncation` and `padding` are defaults of calls there, not
// part of the tokenizer, and have no effect here. Everything else that is not understood is refused by name.
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/rank_bpe.h"

namespace ostal::engine {

// kInvalidArgument (malformed), kUnsupported (names what).
Result<RankBpeVocabulary> parse_tokenizer_json(std::string_view text, const SpecialIds& special);

}  // namespace ostal::engine
