// Pieces of text that are tokens of their own wherever they stand (user-defined symbols, added tokens).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/token_table.h"

namespace ostal::engine {

class UserSymbols {
public:
    struct Match {
        std::size_t size = 0;
        TokenId id = -1;
    };
    void add(const std::string& text, TokenId id);
    bool empty() const { return by_text_.empty(); }
    // The longest symbol that `text` begins with. Time: the number of different symbol lengths that share the
    // first byte.
    std::optional<Match> longest_at(std::string_view text) const;

private:
    IdByName by_text_;
    std::map<char, std::vector<std::size_t>> sizes_by_first_;  // descending
};

}  // namespace ostal::engine
