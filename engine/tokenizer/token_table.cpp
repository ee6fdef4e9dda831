#include "engine/tokenizer/token_table.h"

#include "base/bytes.h"
#include "base/check.h"
#include "engine/tokenizer/stream_decoder.h"

namespace ostal::engine {
namespace {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0;;) {
        const std::size_t found = text.find(from, at);
        out += text.substr(at, found - at);
        if (found == std::string_view::npos) return out;
        out += to;
        at = found + from.size();
    }
}

}  // namespace

TableTokenizer::TableTokenizer(std::vector<Token> tokens, TokenId bos, TokenId eos, bool adds_bos,
                               bool dummy_prefix)
    : tokens_(std::move(tokens)), bos_(bos), eos_(eos), adds_bos_(adds_bos), dummy_prefix_(dummy_prefix) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
        const auto id = static_cast<TokenId>(i);
        if (tokens_[i].type == TokenType::kControl) controls_.emplace(tokens_[i].name, id);
        if (tokens_[i].type == TokenType::kUnknown && unknown_ < 0) unknown_ = id;
    }
}

const Token& TableTokenizer::token(TokenId id) const {
    CHECK(id >= 0 && id < vocab_size());
    return tokens_[static_cast<std::size_t>(id)];
}

std::optional<TokenId> TableTokenizer::control(std::string_view name) const {
    const auto found = controls_.find(name);
    if (found == controls_.end()) return std::nullopt;
    return found->second;
}

std::string TableTokenizer::decode(const std::vector<TokenId>& ids) const {
    StreamDecoder decoder(*this);
    std::string out;
    for (const TokenId id : ids) out += decoder.push(id);
    out += decoder.flush();
    return out;
}

Status check_text(std::string_view text) {
    if (text.size() > kMaxTextBytes) {
        return fail(Code::kTooLarge, "a text of " + std::to_string(text.size()) + " bytes, at most " +
                                         std::to_string(kMaxTextBytes) + " are encoded");
    }
    if (!is_valid_utf8(text)) return fail(Code::kInvalidArgument, "the text is not valid UTF-8");
    return {};
}

std::optional<std::uint8_t> byte_of_name(std::string_view name) {
    if (name.size() != 6 || !name.starts_with("<0x") || name.back() != '>') return std::nullopt;
    const auto bytes = from_hex(name.substr(3, 2));
    if (!bytes) return std::nullopt;
    return bytes->front();
}

std::string spaces_from_symbols(std::string_view name) { return replace_all(name, kSpaceSymbol, " "); }
std::string symbols_from_spaces(std::string_view text) { return replace_all(text, " ", kSpaceSymbol); }

}  // namespace ostal::engine
