// Reader of SentencePiece `.model` files.
//
// Source: sentencepiece_model.proto of google/sentencepiece (field numbers and defaults) and the protocol
// buffers wire format. Every length is checked; unknown fields are skipped, as the format asks.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/tokenizer/vocabulary.h"

namespace ostal::engine {

struct SentencePieceModel {
    struct Piece {
        std::string text;
        float score = 0;
        TokenType type = TokenType::kNormal;
    };
    std::vector<Piece> pieces;
    bool byte_fallback = false;
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
    std::string unknown_surface = " \xE2\x81\x87 ";  // what <unk> decodes to: U+2047 between spaces
    TokenId bos = -1;                                // -1: the model has none
    TokenId eos = -1;
    bool add_bos = true;  // a plain text begins with bos
};

// kInvalidArgument: malformed, or pieces that no encoder can use (no or several unknown pieces, a piece that
// occurs twice or is no UTF-8, byte fallback without 256 byte pieces, a score that is no number).
// kUnsupported: unigram, word and character models, a normaliser other than identity, whitespace as suffix.
Result<SentencePieceModel> parse_sentencepiece_model(ByteSpan bytes);

// The rules above for pieces that come from elsewhere (GGUF).
Status check_pieces(const SentencePieceModel& model);

}  // namespace ostal::engine
