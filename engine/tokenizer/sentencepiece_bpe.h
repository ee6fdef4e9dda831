// SentencePiece's BPE: pieces with scores, merged best score first over the whole text.
//
// Source: google/sentencepiece, bpe_model.cc and normalizer.cc (behaviour, checked by golden values).
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/tokenizer/sentencepiece_model.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

// `model` as parse_sentencepiece_model or check_pieces admitted it. The text of control, unknown and byte
// pieces never gives their id; user-defined pieces are taken whole wherever they stand. A character without a
// piece becomes its bytes (byte fallback) or one unknown piece a run. encode() is O(n log n).
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(SentencePieceModel model);

}  // namespace ostal::engine
