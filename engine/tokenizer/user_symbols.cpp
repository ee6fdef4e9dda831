#include "engine/tokenizer/user_symbols.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace ostal::engine {

void UserSymbols::add(const std::string& text, TokenId id) {
    CHECK(!text.empty());
    by_text_.emplace(text, id);
    std::vector<std::size_t>& sizes = sizes_by_first_[text.front()];
    if (std::find(sizes.begin(), sizes.end(), text.size()) == sizes.end()) sizes.push_back(text.size());
    std::sort(sizes.begin(), sizes.end(), std::greater<>());
}

std::optional<UserSymbols::Match> UserSymbols::longest_at(std::string_view text) const {
    if (by_text_.empty() || text.empty()) return std::nullopt;
    const auto sizes = sizes_by_first_.find(text.front());
    if (sizes == sizes_by_first_.end()) return std::nullopt;
    for (const std::size_t size : sizes->second) {
        if (size > text.size()) continue;
        const auto found = by_text_.find(text.substr(0, size));
        if (found != by_text_.end()) return Match{size, found->second};
    }
    return std::nullopt;
}

}  // namespace ostal::engine
