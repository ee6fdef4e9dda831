#include "engine/tokenizer/load.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/tokenizer/instruct_format.h"
#include "engine/tokenizer/pretokenizer.h"
#include "engine/tokenizer/rank_bpe.h"
#include "engine/tokenizer/sentencepiece_bpe.h"
#include "engine/tokenizer/sentencepiece_model.h"
#include "engine/tokenizer/tekken.h"
#include "engine/tokenizer/tokenizer_json.h"

namespace ostal::engine {
namespace {

tl::unexpected<Error> malformed(std::string what) {
    return fail(Code::kInvalidArgument, "embedded vocabulary: " + std::move(what));
}

bool in_range(TokenId id, std::size_t size) { return id >= -1 && id < static_cast<std::int64_t>(size); }

// The type of each token. Text must never give the ends of a text, whatever an old file marks them as.
Result<std::vector<TokenType>> token_types(const EmbeddedVocabulary& vocabulary) {
    const std::size_t size = vocabulary.tokens.size();
    if (size == 0 || size > kMaxVocabulary) return malformed(std::to_string(size) + " tokens");
    std::vector<TokenType> types(size, TokenType::kNormal);
    if (!vocabulary.token_types.empty() && vocabulary.token_types.size() != size) {
        return malformed("as many token types as tokens are needed");
    }
    for (std::size_t i = 0; i < vocabulary.token_types.size(); ++i) {
        const std::int32_t type = vocabulary.token_types[i];
        if (type < 1 || type > 6) return malformed("a token of type " + std::to_string(type));
        types[i] = static_cast<TokenType>(type);
        // Some files mark the control tokens of a chat format as plain ones; text must never give them.
        if (types[i] == TokenType::kUserDefined && is_control_name(vocabulary.tokens[i])) {
            types[i] = TokenType::kControl;
        }
    }
    for (const TokenId id : {vocabulary.bos, vocabulary.eos, vocabulary.unknown}) {
        if (!in_range(id, size))
            return malformed("the special id " + std::to_string(id) + " is out of range");
    }
    for (const TokenId id : {vocabulary.bos, vocabulary.eos}) {
        if (id >= 0) types[static_cast<std::size_t>(id)] = TokenType::kControl;
    }
    return types;
}

Result<std::unique_ptr<Tokenizer>> load_scored(const EmbeddedVocabulary& vocabulary) {
    OSTAL_TRY(const auto types, token_types(vocabulary));
    if (vocabulary.scores.size() != types.size()) return malformed("as many scores as tokens are needed");
    SentencePieceModel model;
    for (std::size_t i = 0; i < types.size(); ++i) {
        model.pieces.push_back({vocabulary.tokens[i], vocabulary.scores[i], types[i]});
        model.byte_fallback = model.byte_fallback || types[i] == TokenType::kByte;
    }
    model.add_dummy_prefix = vocabulary.add_space_prefix.value_or(true);
    model.remove_extra_whitespaces = vocabulary.remove_extra_whitespaces.value_or(false);
    model.bos = vocabulary.bos;
    model.eos = vocabulary.eos;
    model.add_bos = vocabulary.add_bos.value_or(true);
    OSTAL_TRYV(check_pieces(model));
    return make_sentencepiece_tokenizer(std::move(model));
}

Result<std::unique_ptr<Tokenizer>> load_ranked(const EmbeddedVocabulary& vocabulary) {
    OSTAL_TRY(const auto types, token_types(vocabulary));
    if (vocabulary.add_space_prefix.value_or(false)) {
        return fail(Code::kUnsupported, "an embedded byte-level vocabulary with add_space_prefix");
    }
    RankBpeVocabulary out;
    OSTAL_TRY(out.splits, splits_of_pre(vocabulary.pre));
    // Llama 3's and tekken's own tokenizers look a piece up whole before they merge.
    out.ignore_merges =
        out.splits == std::vector<Split>{Split::kLlama3} || out.splits == std::vector<Split>{Split::kTekken};
    for (std::size_t i = 0; i < types.size(); ++i) out.tokens.push_back({vocabulary.tokens[i], "", types[i]});
    for (const std::string& merge : vocabulary.merges) {
        const std::size_t space = merge.find(' ', 1);
        if (space == std::string::npos) return malformed("a merge is no pair");
        out.merges.push_back({merge.substr(0, space), merge.substr(space + 1)});
    }
    out.bos = vocabulary.bos;
    out.eos = vocabulary.eos;
    out.add_bos = vocabulary.add_bos.value_or(out.ignore_merges);  // of byte-level ones, these two do
    if (vocabulary.unknown >= 0 &&
        types[static_cast<std::size_t>(vocabulary.unknown)] == TokenType::kUnknown) {
        out.unknown = vocabulary.unknown;
    }
    return make_rank_bpe_tokenizer(std::move(out));
}

// 3 for "tokenizer.model.v3", 0 for "tokenizer.model", nothing for other names.
std::optional<int> model_version(std::string_view name) {
    constexpr std::string_view kStem = "tokenizer.model";
    if (!name.starts_with(kStem)) return std::nullopt;
    name.remove_prefix(kStem.size());
    if (name.empty()) return 0;
    if (!name.starts_with(".v")) return std::nullopt;
    int version = 0;
    const auto [end, error] = std::from_chars(name.data() + 2, name.data() + name.size(), version);
    if (error != std::errc() || end != name.data() + name.size() || version < 1) return std::nullopt;
    return version;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_tokenizer_file(ByteSpan bytes, std::string_view name,
                                                       const SpecialIds& special) {
    const std::string_view base = name.substr(name.rfind('/') + 1);
    if (base.ends_with(".json")) {
        if (base.find("tekken") != std::string_view::npos) {
            OSTAL_TRY(RankBpeVocabulary vocabulary, parse_tekken(as_text(bytes)));
            vocabulary.add_bos = special.add_bos.value_or(true);
            return make_byte_rank_tokenizer(std::move(vocabulary));
        }
        OSTAL_TRY(RankBpeVocabulary vocabulary, parse_tokenizer_json(as_text(bytes), special));
        return make_rank_bpe_tokenizer(std::move(vocabulary));
    }
    OSTAL_TRY(SentencePieceModel model, parse_sentencepiece_model(bytes));
    model.add_bos = special.add_bos.value_or(true);
    return make_sentencepiece_tokenizer(std::move(model));
}

Result<std::unique_ptr<Tokenizer>> load_embedded_tokenizer(const EmbeddedVocabulary& vocabulary) {
    if (vocabulary.model == "llama") return load_scored(vocabulary);
    if (vocabulary.model == "gpt2") return load_ranked(vocabulary);
    return fail(Code::kUnsupported, "an embedded vocabulary of the model \"" +
                                        vocabulary.model.substr(0, 64) + "\" is not supported");
}

std::optional<std::string> choose_tokenizer_file(std::span<const std::string> names) {
    const auto has = [&](std::string_view name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    if (has("tekken.json")) return "tekken.json";
    const std::string* best = nullptr;
    int best_version = -1;
    for (const std::string& name : names) {
        const auto version = model_version(name);
        if (version && *version > best_version) {
            best = &name;
            best_version = *version;
        }
    }
    if (best != nullptr) return *best;
    if (has("tokenizer.json")) return "tokenizer.json";
    return std::nullopt;
}

}  // namespace ostal::engine
