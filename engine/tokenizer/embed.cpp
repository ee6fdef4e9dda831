#include "engine/tokenizer/embed.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/tokenizer/pretokenizer.h"
#include "engine/tokenizer/sentencepiece_model.h"
#include "engine/tokenizer/tokenizer_json.h"

namespace ostal::engine {
namespace {

constexpr float kPadScore = -10000.0F;  // below every piece in use

tl::unexpected<Error> unsupported(std::string what) {
    return fail(Code::kUnsupported, "GGUF cannot embed " + std::move(what));
}

Result<EmbeddedVocabulary> of_sentencepiece(ByteSpan bytes, const SpecialIds& special) {
    OSTAL_TRY(const SentencePieceModel model, parse_sentencepiece_model(bytes));
    EmbeddedVocabulary out;
    out.model = "llama";
    out.pre = "default";
    bool has_bytes = false;
    for (const SentencePieceModel::Piece& piece : model.pieces) {
        if (piece.type == TokenType::kUnknown) out.unknown = static_cast<TokenId>(out.tokens.size());
        has_bytes = has_bytes || piece.type == TokenType::kByte;
        out.tokens.push_back(piece.text);
        out.scores.push_back(piece.score);
        out.token_types.push_back(static_cast<std::int32_t>(piece.type));
    }
    if (has_bytes != model.byte_fallback) {
        return unsupported("a SentencePiece model with byte pieces that it does not use");
    }
    if (!model.escape_whitespaces) return unsupported("a SentencePiece model that keeps spaces as they are");
    out.bos = model.bos;
    out.eos = model.eos;
    out.add_bos = special.add_bos.value_or(true);
    out.add_space_prefix = model.add_dummy_prefix;
    out.remove_extra_whitespaces = model.remove_extra_whitespaces;
    return out;
}

// The name under which splits_of_pre() knows the splits.
Result<std::string> pre_of_splits(const std::vector<Split>& splits) {
    for (const char* name : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
        const auto known = splits_of_pre(name);
        if (known && *known == splits) return std::string(name);
    }
    return unsupported("the way in which this tokenizer.json cuts text into words");
}

Result<EmbeddedVocabulary> of_tokenizer_json(ByteSpan bytes, const SpecialIds& special) {
    OSTAL_TRY(const RankBpeVocabulary read, parse_tokenizer_json(as_text(bytes), special));
    if (!read.byte_level) {
        return unsupported(
            "a tokenizer.json that is not byte-level (its merges are ranked, a llama vocabulary's scored): "
            "take the tokenizer.model it was made from");
    }
    EmbeddedVocabulary out;
    out.model = "gpt2";
    OSTAL_TRY(out.pre, pre_of_splits(read.splits));
    if (read.ignore_merges != (out.pre == "llama-bpe")) {
        return unsupported("a tokenizer.json whose ignore_merges is not what " + out.pre + " means in GGUF");
    }
    for (const Token& token : read.tokens) {
        const bool hole = token.name.empty();
        out.tokens.push_back(hole ? "[PAD" + std::to_string(out.tokens.size()) + "]" : token.name);
        out.token_types.push_back(static_cast<std::int32_t>(token.type));
    }
    for (const auto& [left, right] : read.merges) out.merges.push_back(left + " " + right);
    out.bos = read.bos;
    out.eos = read.eos;
    out.unknown = read.unknown;
    out.add_bos = read.add_bos;
    return out;
}

}  // namespace

Result<EmbeddedVocabulary> embedded_vocabulary(ByteSpan bytes, std::string_view name,
                                               const SpecialIds& special, std::int32_t vocab) {
    const std::string_view base = name.substr(name.rfind('/') + 1);
    if (base.ends_with(".json") && base.find("tekken") != std::string_view::npos) {
        return unsupported("a tekken vocabulary (" + std::string(base) +
                           "): the format's description has no convention for its ranks");
    }
    OSTAL_TRY(EmbeddedVocabulary out,
              base.ends_with(".json") ? of_tokenizer_json(bytes, special) : of_sentencepiece(bytes, special));
    while (out.tokens.size() < static_cast<std::size_t>(std::max(vocab, 0))) {
        out.tokens.push_back("[PAD" + std::to_string(out.tokens.size()) + "]");
        out.token_types.push_back(static_cast<std::int32_t>(TokenType::kUnused));
        if (out.model == "llama") out.scores.push_back(kPadScore);
    }
    return out;
}

}  // namespace ostal::engine
