#include "engine/tokenizer/sentencepiece_bpe.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/bytes.h"
#include "base/check.h"
#include "engine/tokenizer/bpe_merge.h"
#include "engine/tokenizer/token_table.h"
#include "engine/tokenizer/user_symbols.h"

namespace ostal::engine {
namespace {

std::vector<Token> token_table(const SentencePieceModel& model) {
    std::vector<Token> tokens;
    tokens.reserve(model.pieces.size());
    for (const SentencePieceModel::Piece& piece : model.pieces) {
        std::string bytes;
        switch (piece.type) {
            case TokenType::kControl: break;
            case TokenType::kUnknown: bytes = model.unknown_surface; break;
            case TokenType::kByte: bytes = static_cast<char>(*byte_of_name(piece.text)); break;
            default: bytes = spaces_from_symbols(piece.text);
        }
        tokens.push_back({piece.text, std::move(bytes), piece.type});
    }
    return tokens;
}

class SentencePieceTokenizer final : public TableTokenizer {
public:
    explicit SentencePieceTokenizer(const SentencePieceModel& model)
        : TableTokenizer(token_table(model), model.bos, model.eos, model.add_bos, model.add_dummy_prefix),
          byte_fallback_(model.byte_fallback),
          add_dummy_prefix_(model.add_dummy_prefix),
          remove_extra_whitespaces_(model.remove_extra_whitespaces),
          escape_whitespaces_(model.escape_whitespaces) {
        bytes_.fill(-1);
        for (std::size_t i = 0; i < tokens().size(); ++i) {
            const Token& token = tokens()[i];
            const auto id = static_cast<TokenId>(i);
            scores_.push_back(model.pieces[i].score);
            if (token.type == TokenType::kByte) bytes_[static_cast<std::uint8_t>(token.bytes[0])] = id;
            if (token.type == TokenType::kUserDefined) user_symbols_.add(token.name, id);
            if (token.type == TokenType::kNormal || token.type == TokenType::kUserDefined ||
                token.type == TokenType::kUnused) {
                pieces_.emplace(token.name, id);
                longest_piece_ = std::max(longest_piece_, token.name.size());
                has_unused_ = has_unused_ || token.type == TokenType::kUnused;
            }
        }
    }

    Result<std::vector<TokenId>> encode(std::string_view text) const override {
        OSTAL_TRYV(check_text(text));
        const std::string normal = normalise(text);
        std::vector<Symbol> symbols = first_symbols(normal);
        std::vector<TokenId> ids;
        if (symbols.empty()) return ids;
        // How an unused piece came about, so that it can be taken apart again.
        std::unordered_map<TokenId, std::size_t> split_of_unused;
        merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
            if (left.size + right.size > longest_piece_) return std::nullopt;
            const auto found =
                pieces_.find(std::string_view(normal).substr(left.begin, left.size + right.size));
            if (found == pieces_.end()) return std::nullopt;
            if (has_unused_ && token(found->second).type == TokenType::kUnused) {
                split_of_unused[found->second] = left.size;
            }
            return Merge{-static_cast<double>(scores_[static_cast<std::size_t>(found->second)]),
                         found->second};
        });
        ids.reserve(symbols.size() / 3 + 1);
        bool after_unknown = false;
        for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
            const Symbol& symbol = symbols[static_cast<std::size_t>(i)];
            emit(std::string_view(normal).substr(symbol.begin, symbol.size), symbol.id, split_of_unused,
                 after_unknown, ids);
        }
        return ids;
    }

private:
    // Spaces as U+2581, the dummy prefix, and extra spaces removed, as the model asks.
    std::string normalise(std::string_view text) const {
        std::string kept;
        if (remove_extra_whitespaces_) {
            bool after_space = true;
            for (const char c : text) {
                if (c != ' ' || !after_space) kept += c;
                after_space = c == ' ';
            }
            if (!kept.empty() && kept.back() == ' ') kept.pop_back();
            text = kept;
        }
        if (text.empty()) return {};
        std::string out = add_dummy_prefix_ ? " " : "";
        out += text;
        return escape_whitespaces_ ? symbols_from_spaces(out) : out;
    }

    std::vector<Symbol> first_symbols(std::string_view normal) const {
        std::vector<Symbol> symbols;
        symbols.reserve(normal.size());
        for (std::size_t at = 0; at < normal.size();) {
            Symbol symbol;
            symbol.begin = static_cast<std::uint32_t>(at);
            if (const auto user = user_symbols_.longest_at(normal.substr(at))) {
                symbol.size = static_cast<std::uint32_t>(user->size);
                symbol.id = user->id;
                symbol.frozen = true;
            } else {
                symbol.size = static_cast<std::uint32_t>(utf8_character(normal.substr(at)));
                const auto found = pieces_.find(normal.substr(at, symbol.size));
                if (found != pieces_.end()) symbol.id = found->second;
            }
            at += symbol.size;
            symbols.push_back(symbol);
        }
        return symbols;
    }

    void emit(std::string_view piece, TokenId id,
              const std::unordered_map<TokenId, std::size_t>& split_of_unused, bool& after_unknown,
              std::vector<TokenId>& ids) const {
        if (id >= 0 && token(id).type == TokenType::kUnused) {
            if (const auto split = split_of_unused.find(id); split != split_of_unused.end()) {
                for (const auto& part : {piece.substr(0, split->second), piece.substr(split->second)}) {
                    const auto found = pieces_.find(part);
                    emit(part, found == pieces_.end() ? -1 : found->second, split_of_unused, after_unknown,
                         ids);
                }
                return;
            }
        }
        if (id >= 0) {
            ids.push_back(id);
        } else if (byte_fallback_) {
            for (const char c : piece) ids.push_back(bytes_[static_cast<std::uint8_t>(c)]);
        } else if (!after_unknown) {
            ids.push_back(unknown());
        }
        after_unknown = id < 0 && !byte_fallback_;
    }

    IdByName pieces_;  // what text can become: normal, user-defined and unused pieces
    std::vector<float> scores_;
    UserSymbols user_symbols_;
    std::array<TokenId, 256> bytes_{};
    std::size_t longest_piece_ = 0;
    bool has_unused_ = false;
    bool byte_fallback_;
    bool add_dummy_prefix_;
    bool remove_extra_whitespaces_;
    bool escape_whitespaces_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(SentencePieceModel model) {
    CHECK(check_pieces(model).has_value());
    return std::make_unique<SentencePieceTokenizer>(model);
}

}  // namespace ostal::engine
