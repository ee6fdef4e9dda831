// What each token of a model writes, apart from the engine: an answer may outlive its model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace ostal {

// Immutable, thread-safe.
class TokenTexts {
public:
    explicit TokenTexts(const engine::Tokenizer& tokenizer);

    // As Tokenizer::token_bytes; an id outside of the vocabulary has none.
    std::string_view bytes(engine::TokenId id) const;
    // The same at the beginning of a text: without a dummy prefix space.
    std::string_view first_bytes(engine::TokenId id) const;
    // The text of a sequence, broken UTF-8 as U+FFFD. `begins_text`: as Tokenizer::decode, without a dummy prefix.
    std::string decode(std::span<const engine::TokenId> ids, bool begins_text) const;

private:
    std::string all_;
    std::vector<std::uint32_t> begins_;  // [vocabulary + 1] offsets into all_
    bool has_dummy_prefix_;
};

}  // namespace ostal
