// Text to token ids and back.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/request.h"

namespace ostal::engine {

// The reasoning efforts that a model was trained with, where its files name them.
struct ReasoningEfforts {
    std::vector<std::string> values;  // "none", "high"
    std::string when_absent;          // what a request without one means; empty: nothing
    bool required = false;            // a request without one is refused
};

// Immutable after load and thread-safe.
//
// encode() treats all text as plain text: the name of a control token inside it ("[INST]", "<|im_start|>")
// becomes ordinary pieces, never the control token. Control tokens are placed by id, by chat_template.h.
class Tokenizer {
public:
    virtual ~Tokenizer() = default;

    virtual std::int32_t vocab_size() const = 0;
    virtual TokenId bos() const = 0;  // -1: none
    virtual TokenId eos() const = 0;
    // A plain text begins with bos, as the model's files say; a chat format places its own.
    virtual bool adds_bos() const { return bos() >= 0; }
    virtual TokenId unknown() const { return -1; }  // what a character outside of the vocabulary gives
    // The id of a control token by its name, e.g. "[INST]"; nothing when the vocabulary has none.
    virtual std::optional<TokenId> control(std::string_view name) const = 0;
    virtual bool is_control(TokenId id) const = 0;

    // Ids of one separately encoded piece of text (SentencePiece adds its dummy prefix to it); no bos or eos.
    // kInvalidArgument when the text is not UTF-8.
    virtual Result<std::vector<TokenId>> encode(std::string_view text) const = 0;
    // Bytes of a token as it stands inside a text (control tokens: empty). `id` < vocab_size: CHECK.
    virtual std::string_view token_bytes(TokenId id) const = 0;
    // Text of a sequence: control tokens give nothing, the SentencePiece dummy prefix is removed, and
    // broken UTF-8 becomes U+FFFD.
    virtual std::string decode(const std::vector<TokenId>& ids) const = 0;
    // True when the first token of a text carries a dummy prefix space that decode() removes.
    virtual bool has_dummy_prefix() const = 0;
    // nullptr: the files say nothing of it.
    virtual const ReasoningEfforts* reasoning_efforts() const { return nullptr; }
};

}  // namespace ostal::engine
