// What every tokenizer here has besides its way of encoding: ids, names, bytes and kinds of tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace ostal::engine {

// The largest vocabulary and the longest token that are read (published ones: 262,144 and 512 bytes).
constexpr std::size_t kMaxVocabulary = std::size_t{1} << 21;
constexpr std::size_t kMaxTokenBytes = 4096;
// The longest text encode() takes; positions in it are 32 bits.
constexpr std::size_t kMaxTextBytes = std::size_t{1} << 28;

struct Token {
    std::string name;   // as the vocabulary spells it
    std::string bytes;  // what it stands for in a text; empty for control tokens
    TokenType type = TokenType::kNormal;
};

// Hash and equality that let string-keyed maps be searched by string_view.
struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using IdByName = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

// All of Tokenizer but encode().
class TableTokenizer : public Tokenizer {
public:
    std::int32_t vocab_size() const override { return static_cast<std::int32_t>(tokens_.size()); }
    TokenId bos() const override { return bos_; }
    TokenId eos() const override { return eos_; }
    bool adds_bos() const override { return adds_bos_ && bos_ >= 0; }
    TokenId unknown() const override { return unknown_; }
    std::optional<TokenId> control(std::string_view name) const override;
    bool is_control(TokenId id) const override { return token(id).type == TokenType::kControl; }
    std::string_view token_bytes(TokenId id) const override { return token(id).bytes; }
    std::string decode(const std::vector<TokenId>& ids) const override;
    bool has_dummy_prefix() const override { return dummy_prefix_; }

protected:
    // Ids are the caller's to check: within the table or -1.
    TableTokenizer(std::vector<Token> tokens, TokenId bos, TokenId eos, bool adds_bos, bool dummy_prefix);
    const Token& token(TokenId id) const;
    const std::vector<Token>& tokens() const { return tokens_; }

private:
    std::vector<Token> tokens_;
    IdByName controls_;
    TokenId bos_;
    TokenId eos_;
    TokenId unknown_ = -1;
    bool adds_bos_;
    bool dummy_prefix_;
};

// kInvalidArgument unless `text` is UTF-8, kTooLarge over kMaxTextBytes.
Status check_text(std::string_view text);
// "<0x41>" -> 0x41; nothing for another spelling.
std::optional<std::uint8_t> byte_of_name(std::string_view name);
// SentencePiece's spelling of a space, U+2581, and text with it as spaces.
constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
std::string spaces_from_symbols(std::string_view name);
std::string symbols_from_spaces(std::string_view text);

}  // namespace ostal::engine
