#include "appliance/serving/token_texts.h"

#include "engine/tokenizer/stream_decoder.h"

namespace ostal {

TokenTexts::TokenTexts(const engine::Tokenizer& tokenizer) : has_dummy_prefix_(tokenizer.has_dummy_prefix()) {
    for (engine::TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
        begins_.push_back(static_cast<std::uint32_t>(all_.size()));
        all_ += tokenizer.token_bytes(id);
    }
    begins_.push_back(static_cast<std::uint32_t>(all_.size()));
}

std::string_view TokenTexts::bytes(engine::TokenId id) const {
    const auto at = static_cast<std::size_t>(id);
    if (id < 0 || at + 1 >= begins_.size()) return {};
    return std::string_view(all_).substr(begins_[at], begins_[at + 1] - begins_[at]);
}

std::string_view TokenTexts::first_bytes(engine::TokenId id) const {
    std::string_view text = bytes(id);
    if (has_dummy_prefix_ && text.starts_with(' ')) text.remove_prefix(1);
    return text;
}

std::string TokenTexts::decode(std::span<const engine::TokenId> ids, bool begins_text) const {
    std::string joined;
    for (const engine::TokenId id : ids) joined += bytes(id);
    if (begins_text && has_dummy_prefix_ && joined.starts_with(' ')) joined.erase(0, 1);
    std::string out;
    engine::append_valid_utf8(out, joined);
    return out;
}

}  // namespace ostal
