// Tokens to text as they come, in whole characters.
#pragma once

#include <string>
#include <string_view>

#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

// Appends `bytes` to `out`; every byte that is not part of a valid UTF-8 character becomes U+FFFD. This is
// what Tokenizer::decode does too.
void append_valid_utf8(std::string& out, std::string_view bytes);

// The deltas of push() and flush(), joined, equal Tokenizer::decode() of all ids pushed (with
// starts_text = false: without its removal of the dummy prefix). Not thread-safe. The tokenizer outlives it.
class StreamDecoder {
public:
    // starts_text: the tokens begin a text, so a dummy prefix space is removed; false when they continue one
    // (an assistant message given as prefix).
    explicit StreamDecoder(const Tokenizer& tokenizer, bool starts_text = true);

    // Appends to `out` the text that became certain: whole characters only, may be nothing. Allocates for
    // `out` alone, once the decoder has met a token as long as this one.
    void push(TokenId id, std::string& out);
    std::string push(TokenId id);
    // What an incomplete character at the end decodes to; the decoder is empty then.
    std::string flush();

private:
    const Tokenizer& tokenizer_;
    bool strip_prefix_;
    std::string held_;  // an incomplete character, at most 3 bytes
};

}  // namespace ostal::engine
