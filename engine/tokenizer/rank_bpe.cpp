#include "engine/tokenizer/rank_bpe.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/bytes.h"
#include "base/check.h"
#include "engine/tokenizer/bpe_merge.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/user_symbols.h"

namespace ostal::engine {
namespace {

tl::unexpected<Error> malformed(std::string what) {
    return fail(Code::kInvalidArgument, "BPE vocabulary: " + std::move(what));
}

// GPT-2's alphabet: printable Latin-1 bytes are themselves, the others follow from U+0100 in order.
bool stands_for_itself(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}
constexpr std::size_t kAlphabetEnd = 0x100 + 68;

std::array<std::int16_t, kAlphabetEnd> make_alphabet() {
    std::array<std::int16_t, kAlphabetEnd> byte_of_point{};
    byte_of_point.fill(-1);
    std::size_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        byte_of_point[stands_for_itself(byte) ? byte : next++] = static_cast<std::int16_t>(byte);
    }
    CHECK_EQ(next, kAlphabetEnd);
    return byte_of_point;
}

using MergeTable = std::unordered_map<std::uint64_t, Merge>;

std::uint64_t pair_key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
}

class RankBpeTokenizer final : public TableTokenizer {
public:
    // Without `merges`, neighbours join where their bytes are a token.
    RankBpeTokenizer(RankBpeVocabulary vocabulary, std::optional<MergeTable> merges)
        : TableTokenizer(std::move(vocabulary.tokens), vocabulary.bos, vocabulary.eos, vocabulary.add_bos,
                         vocabulary.dummy_prefix != DummyPrefix::kNone),
          merges_(std::move(merges)),
          splits_(std::move(vocabulary.splits)),
          dummy_prefix_(vocabulary.dummy_prefix),
          reasoning_efforts_(std::move(vocabulary.reasoning_efforts)),
          unknown_(vocabulary.unknown),
          byte_level_(vocabulary.byte_level),
          byte_fallback_(vocabulary.byte_fallback),
          ignore_merges_(vocabulary.ignore_merges),
          fuse_unknown_(vocabulary.fuse_unknown),
          split_at_spaces_(vocabulary.split_at_spaces) {
        bytes_.fill(-1);
        for (std::size_t i = 0; i < tokens().size(); ++i) index_token(tokens()[i], static_cast<TokenId>(i));
    }

    Result<std::vector<TokenId>> encode(std::string_view text) const override {
        OSTAL_TRYV(check_text(text));
        std::vector<TokenId> ids;
        std::size_t begin = 0;
        std::size_t at = 0;
        while (!user_symbols_.empty() && at < text.size()) {
            if (const auto user = user_symbols_.longest_at(text.substr(at))) {
                encode_plain(text.substr(begin, at - begin), begin == 0, ids);
                ids.push_back(user->id);
                at += user->size;
                begin = at;
            } else {
                ++at;
            }
        }
        encode_plain(text.substr(begin), begin == 0, ids);
        return ids;
    }

    const ReasoningEfforts* reasoning_efforts() const override {
        return reasoning_efforts_ ? &*reasoning_efforts_ : nullptr;
    }

private:
    void index_token(const Token& token, TokenId id) {
        if (token.type == TokenType::kUserDefined) user_symbols_.add(token.name, id);
        if (token.type == TokenType::kByte || (byte_level_ && token.type == TokenType::kNormal)) {
            if (token.bytes.size() == 1) bytes_[static_cast<std::uint8_t>(token.bytes[0])] = id;
        }
        if (token.type != TokenType::kNormal) return;
        const std::string& text = byte_level_ ? token.bytes : token.name;
        const bool added = by_text_.emplace(text, id).second;
        CHECK(added || merges_);
        longest_ = std::max(longest_, text.size());
    }

    bool takes_prefix(std::string_view text, bool first) const {
        const bool at_space = text.front() == ' ' || text.starts_with(kSpaceSymbol);
        switch (dummy_prefix_) {
            case DummyPrefix::kNone: return false;
            case DummyPrefix::kAlways: return true;
            case DummyPrefix::kUnlessSpace: return !at_space;
            case DummyPrefix::kFirstUnlessSpace: return first && !at_space;
        }
        return false;
    }

    // A stretch of text without user-defined tokens; `first`: the whole text begins with it.
    void encode_plain(std::string_view text, bool first, std::vector<TokenId>& ids) const {
        if (text.empty()) return;
        if (!byte_level_) {
            const std::string spelled =
                symbols_from_spaces((takes_prefix(text, first) ? " " : "") + std::string(text));
            for (const std::string_view word : words(spelled)) encode_piece(word, ids);
            return;
        }
        std::vector<std::string_view> pieces{text};
        std::vector<std::string_view> cut;
        for (const Split how : splits_) {
            cut.clear();
            for (const std::string_view piece : pieces) split(how, piece, cut);
            pieces.swap(cut);
        }
        for (const std::string_view piece : pieces) encode_piece(piece, ids);
    }

    std::vector<std::string_view> words(std::string_view spelled) const {
        if (!split_at_spaces_) return {spelled};
        std::vector<std::string_view> out;
        while (!spelled.empty()) {
            const std::size_t end = std::min(spelled.size(), spelled.find(kSpaceSymbol, 1));
            out.push_back(spelled.substr(0, end));
            spelled.remove_prefix(end);
        }
        return out;
    }

    void encode_piece(std::string_view piece, std::vector<TokenId>& ids) const {
        if (ignore_merges_) {
            const auto whole = by_text_.find(piece);
            if (whole != by_text_.end()) {
                ids.push_back(whole->second);
                return;
            }
        }
        std::vector<Symbol> symbols = byte_level_ ? byte_symbols(piece) : character_symbols(piece);
        if (symbols.empty()) return;
        merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) {
            return merges_ ? listed_merge(left, right) : token_merge(piece, left, right);
        });
        for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
            ids.push_back(symbols[static_cast<std::size_t>(i)].id);
        }
    }

    std::optional<Merge> listed_merge(const Symbol& left, const Symbol& right) const {
        const auto found = merges_->find(pair_key(left.id, right.id));
        if (found == merges_->end()) return std::nullopt;
        return found->second;
    }

    std::optional<Merge> token_merge(std::string_view piece, const Symbol& left, const Symbol& right) const {
        const std::size_t size = left.size + right.size;
        if (size > longest_) return std::nullopt;
        const auto found = by_text_.find(piece.substr(left.begin, size));
        if (found == by_text_.end()) return std::nullopt;
        return Merge{static_cast<double>(found->second), found->second};
    }

    std::vector<Symbol> byte_symbols(std::string_view piece) const {
        std::vector<Symbol> symbols;
        symbols.reserve(piece.size());
        for (std::size_t at = 0; at < piece.size(); ++at) {
            const TokenId id = bytes_[static_cast<std::uint8_t>(piece[at])];
            if (id >= 0 || unknown_ >= 0) symbols.push_back(symbol(at, 1, id >= 0 ? id : unknown_));
        }
        return symbols;
    }

    std::vector<Symbol> character_symbols(std::string_view piece) const {
        std::vector<Symbol> symbols;
        bool after_unknown = false;
        for (std::size_t at = 0; at < piece.size();) {
            const std::size_t size = first_char(piece.substr(at)).size;
            const std::string_view character = piece.substr(at, size);
            const auto found = by_text_.find(character);
            const bool unknown = found == by_text_.end() && !has_bytes(character);
            if (found != by_text_.end()) {
                symbols.push_back(symbol(at, size, found->second));
            } else if (!unknown) {
                for (std::size_t i = 0; i < size; ++i) {
                    symbols.push_back(symbol(at + i, 1, bytes_[static_cast<std::uint8_t>(character[i])]));
                }
            } else if (unknown_ >= 0 && !(fuse_unknown_ && after_unknown)) {
                symbols.push_back(symbol(at, size, unknown_));
            }
            after_unknown = unknown;
            at += size;
        }
        return symbols;
    }

    // As Hugging Face's BPE: bytes stand in only where all of a character's bytes have tokens.
    bool has_bytes(std::string_view character) const {
        if (!byte_fallback_) return false;
        for (const char c : character) {
            if (bytes_[static_cast<std::uint8_t>(c)] < 0) return false;
        }
        return true;
    }

    static Symbol symbol(std::size_t begin, std::size_t size, TokenId id) {
        Symbol out;
        out.begin = static_cast<std::uint32_t>(begin);
        out.size = static_cast<std::uint32_t>(size);
        out.id = id;
        return out;
    }

    std::optional<MergeTable> merges_;
    IdByName by_text_;         // normal tokens by what they stand for in a piece
    std::size_t longest_ = 0;  // of them, in bytes
    UserSymbols user_symbols_;
    std::array<TokenId, 256> bytes_{};
    std::vector<Split> splits_;
    DummyPrefix dummy_prefix_;
    std::optional<ReasoningEfforts> reasoning_efforts_;
    TokenId unknown_;
    bool byte_level_;
    bool byte_fallback_;
    bool ignore_merges_;
    bool fuse_unknown_;
    bool split_at_spaces_;
};

// Checks names and fills in bytes; returns the ids by name.
Result<IdByName> index_tokens(RankBpeVocabulary& vocabulary) {
    if (vocabulary.tokens.size() > kMaxVocabulary) return malformed("too many tokens");
    IdByName ids;
    for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
        Token& token = vocabulary.tokens[i];
        const auto refuse = [&](std::string_view why) {
            return malformed("token " + std::to_string(i) + " " + std::string(why));
        };
        if (token.name.size() > kMaxTokenBytes) return refuse("is too long");
        if (!is_valid_utf8(token.name)) return refuse("is not valid UTF-8");
        if (token.name.empty()) {
            if (token.type != TokenType::kUnused) return refuse("is empty");
            continue;
        }
        if (!ids.emplace(token.name, static_cast<TokenId>(i)).second) return refuse("occurs twice");
        switch (token.type) {
            case TokenType::kControl:
            case TokenType::kUnknown: break;
            case TokenType::kUserDefined: token.bytes = token.name; break;
            case TokenType::kByte: {
                const auto byte = byte_of_name(token.name);
                if (!byte) return refuse("is marked as a byte but not named like one");
                token.bytes = static_cast<char>(*byte);
                break;
            }
            default:
                token.bytes =
                    vocabulary.byte_level ? bytes_of_alphabet(token.name) : spaces_from_symbols(token.name);
        }
    }
    for (const TokenId id : {vocabulary.bos, vocabulary.eos, vocabulary.unknown}) {
        if (id < -1 || id >= static_cast<std::int64_t>(vocabulary.tokens.size())) {
            return malformed("the special id " + std::to_string(id) + " is out of range");
        }
    }
    return ids;
}

}  // namespace

std::string bytes_of_alphabet(std::string_view name) {
    static const auto kByteOfPoint = make_alphabet();
    std::string out;
    for (std::size_t at = 0; at < name.size();) {
        const Utf8Char c = first_char(name.substr(at));
        if (c.point >= kAlphabetEnd || kByteOfPoint[c.point] < 0) return std::string(name);
        out += static_cast<char>(kByteOfPoint[c.point]);
        at += c.size;
    }
    return out;
}

Result<std::unique_ptr<Tokenizer>> make_rank_bpe_tokenizer(RankBpeVocabulary vocabulary) {
    OSTAL_TRY(const IdByName ids, index_tokens(vocabulary));
    MergeTable merges;
    merges.reserve(vocabulary.merges.size());
    for (std::size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
        const RankBpeVocabulary::Pair& pair = vocabulary.merges[rank];
        const auto left = ids.find(pair.left);
        const auto right = ids.find(pair.right);
        const auto joined = ids.find(pair.left + pair.right);
        if (left == ids.end() || right == ids.end() || joined == ids.end()) {
            return malformed("merge " + std::to_string(rank) + " is of or to a token that does not exist");
        }
        for (const auto& id : {left->second, right->second, joined->second}) {
            if (vocabulary.tokens[static_cast<std::size_t>(id)].type == TokenType::kControl) {
                return malformed("merge " + std::to_string(rank) + " has a control token in it");
            }
        }
        const Merge merge{static_cast<double>(rank), joined->second};
        if (!merges.emplace(pair_key(left->second, right->second), merge).second) {
            return malformed("merge " + std::to_string(rank) + " occurs twice");
        }
    }
    return std::make_unique<RankBpeTokenizer>(std::move(vocabulary), std::move(merges));
}

std::unique_ptr<Tokenizer> make_byte_rank_tokenizer(RankBpeVocabulary vocabulary) {
    CHECK(vocabulary.merges.empty() && vocabulary.byte_level);
    vocabulary.ignore_merges = true;
    return std::make_unique<RankBpeTokenizer>(std::move(vocabulary), std::nullopt);
}

}  // namespace ostal::engine
