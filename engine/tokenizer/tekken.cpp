#include "engine/tokenizer/tekken.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_set>

#include "base/bytes.h"
#include "base/json.h"

namespace ostal::engine {
namespace {

using json::Value;

tl::unexpected<Error> malformed(std::string what) {
    return fail(Code::kInvalidArgument, "tekken.json: " + std::move(what));
}
tl::unexpected<Error> unsupported(std::string what) {
    return fail(Code::kUnsupported, "tekken.json: " + std::move(what) + " is not supported");
}

// Control tokens of files that do not name them: mistral-common's list to 19, the later ones as files of the
// formats v11 to v15 have them.
struct Conventional {
    TokenId id;
    std::string_view name;
};
constexpr Conventional kConventional[] = {{0, "<unk>"},
                                          {1, "<s>"},
                                          {2, "</s>"},
                                          {3, "[INST]"},
                                          {4, "[/INST]"},
                                          {5, "[AVAILABLE_TOOLS]"},
                                          {6, "[/AVAILABLE_TOOLS]"},
                                          {7, "[TOOL_RESULTS]"},
                                          {8, "[/TOOL_RESULTS]"},
                                          {9, "[TOOL_CALLS]"},
                                          {10, "[IMG]"},
                                          {11, "<pad>"},
                                          {12, "[IMG_BREAK]"},
                                          {13, "[IMG_END]"},
                                          {14, "[PREFIX]"},
                                          {15, "[MIDDLE]"},
                                          {16, "[SUFFIX]"},
                                          {17, "[SYSTEM_PROMPT]"},
                                          {18, "[/SYSTEM_PROMPT]"},
                                          {19, "[TOOL_CONTENT]"},
                                          {32, "[ARGS]"},
                                          {33, "[CALL_ID]"},
                                          {34, "[THINK]"},
                                          {35, "[/THINK]"},
                                          {37, "[MODEL_SETTINGS]"},
                                          {38, "[/MODEL_SETTINGS]"}};

// A file has at most so many control tokens; published ones have 1,000.
constexpr std::size_t kMaxSpecial = 65536;
constexpr std::size_t kBytes = 256;

bool is_empty(const Value* value) { return value == nullptr || value->is_null(); }

Status known_members(const Value& value, const std::string& where,
                     std::initializer_list<std::string_view> known) {
    if (!value.is_object()) return malformed(where + " is no object");
    for (const auto& [key, member] : value.as_object()) {
        if (std::find(known.begin(), known.end(), key) == known.end()) {
            return unsupported("the member " + json::quote(key.substr(0, 64)) + " of " + where);
        }
    }
    return {};
}

Result<std::string> text_member(const Value& value, std::string_view key, const std::string& where) {
    const Value* member = value.find(key);
    if (member == nullptr || !member->is_string()) {
        return malformed(where + "." + std::string(key) + " is no string");
    }
    return member->as_string();
}
// A number from 0 to `most`.
Result<std::size_t> number_member(const Value& value, std::string_view key, const std::string& where,
                                  std::size_t most) {
    const Value* member = value.find(key);
    const auto number = member == nullptr ? fail(Code::kInvalidArgument, "absent") : member->to_uint64();
    if (!number) return malformed(where + "." + std::string(key) + " is no number of tokens");
    if (*number > most) {
        return fail(Code::kTooLarge, "tekken.json: " + where + "." + std::string(key) + " is " +
                                         std::to_string(*number) + ", at most " + std::to_string(most) +
                                         " are read");
    }
    return static_cast<std::size_t>(*number);
}

struct Reader {
    const Value& root;
    RankBpeVocabulary out;
    std::size_t special = 0;   // control tokens, named or not
    std::size_t ordinary = 0;  // ranks in use

    Status read() {
        OSTAL_TRYV(known_members(root, "the file",
                                 {"config", "vocab", "special_tokens", "version", "type", "image",
                                  "multimodal", "audio", "model_settings_builder"}));
        OSTAL_TRYV(read_config(root.find("config")));
        out.tokens.resize(special);
        OSTAL_TRYV(read_special(root.find("special_tokens")));
        OSTAL_TRYV(name_the_rest());
        OSTAL_TRYV(read_vocab(root.find("vocab")));
        return read_settings(root.find("model_settings_builder"));
    }

    Status read_config(const Value* config) {
        if (config == nullptr) return malformed("config is absent");
        OSTAL_TRYV(known_members(
            *config, "config",
            {"pattern", "num_vocab_tokens", "default_vocab_size", "default_num_special_tokens", "version"}));
        OSTAL_TRY(const std::string version, text_member(*config, "version", "config"));
        constexpr std::array<std::string_view, 5> kVersions{"v3", "v7", "v11", "v13", "v15"};
        if (std::find(kVersions.begin(), kVersions.end(), version) == kVersions.end()) {
            return unsupported("the version " + json::quote(version.substr(0, 64)));
        }
        OSTAL_TRY(const std::string pattern, text_member(*config, "pattern", "config"));
        const auto split = split_of_regex(pattern);
        if (!split) return unsupported("the pattern " + json::quote(pattern.substr(0, 400)));
        out.splits = {*split};
        if (config->find("num_vocab_tokens") != nullptr) {  // of the file, in use or not
            OSTAL_TRYV(number_member(*config, "num_vocab_tokens", "config", kMaxVocabulary));
        }
        OSTAL_TRY(special, number_member(*config, "default_num_special_tokens", "config", kMaxSpecial));
        OSTAL_TRY(const std::size_t size,
                  number_member(*config, "default_vocab_size", "config", kMaxVocabulary));
        if (size < special + kBytes) {
            return malformed("config.default_vocab_size is " + std::to_string(size) + ", with " +
                             std::to_string(special) + " control tokens no room for the 256 bytes");
        }
        ordinary = size - special;
        return {};
    }

    Status read_special(const Value* list) {
        if (is_empty(list)) {
            for (const auto& [id, name] : kConventional) {
                if (static_cast<std::size_t>(id) < special) OSTAL_TRYV(name_special(id, std::string(name)));
            }
            return {};
        }
        if (!list->is_array()) return malformed("special_tokens is no list");
        for (const Value& token : list->as_array()) {
            OSTAL_TRYV(known_members(token, "special_tokens", {"rank", "token_str", "is_control"}));
            OSTAL_TRY(const std::size_t id, number_member(token, "rank", "special_tokens", kMaxSpecial));
            OSTAL_TRY(std::string name, text_member(token, "token_str", "special_tokens"));
            OSTAL_TRYV(name_special(static_cast<TokenId>(id), std::move(name)));
        }
        return {};
    }

    Status name_special(TokenId id, std::string name) {
        const auto at = static_cast<std::size_t>(id);
        if (at >= special) {
            return malformed("the control token " + json::quote(name.substr(0, 64)) + " has the id " +
                             std::to_string(id) + ", there are " + std::to_string(special));
        }
        if (name.empty() || name.size() > kMaxTokenBytes) {
            return malformed("the control token " + std::to_string(id) + " has a name of " +
                             std::to_string(name.size()) + " bytes");
        }
        Token& token = out.tokens[at];
        if (!token.name.empty()) return malformed("two control tokens have the id " + std::to_string(id));
        if (name == "<s>") out.bos = id;
        if (name == "</s>") out.eos = id;
        token = {std::move(name), "", TokenType::kControl};
        return {};
    }

    // Every control token has a name then, none twice, and the ends of a text are among them.
    Status name_the_rest() {
        std::unordered_set<std::string_view> names;
        for (std::size_t id = 0; id < special; ++id) {
            Token& token = out.tokens[id];
            if (token.name.empty()) {
                token = {"<SPECIAL_" + std::to_string(id) + ">", "", TokenType::kControl};
            }
            if (!names.insert(token.name).second) {
                return malformed("two control tokens are named " + json::quote(token.name.substr(0, 64)));
            }
        }
        if (out.bos < 0 || out.eos < 0) return malformed("the control tokens have no <s> or </s>");
        return {};
    }

    Status read_vocab(const Value* vocab) {
        if (vocab == nullptr || !vocab->is_array()) return malformed("vocab is no list");
        const json::Array& list = vocab->as_array();
        if (list.size() < ordinary) {
            return malformed("vocab has " + std::to_string(list.size()) + " tokens, " +
                             std::to_string(ordinary) + " are needed");
        }
        // Views into `out.tokens`, which is not moved while they are used.
        out.tokens.reserve(special + ordinary);
        std::unordered_set<std::string_view> seen;
        seen.reserve(ordinary);
        for (std::size_t rank = 0; rank < ordinary; ++rank) {
            OSTAL_TRY(std::string bytes, token_bytes(list[rank], rank));
            if (rank < kBytes && (bytes.size() != 1 || static_cast<std::uint8_t>(bytes[0]) != rank)) {
                return malformed("rank " + std::to_string(rank) + " is not the byte of that number");
            }
            out.tokens.push_back({"", std::move(bytes), TokenType::kNormal});
            if (!seen.insert(out.tokens.back().bytes).second) {
                return malformed("rank " + std::to_string(rank) + " is the same token as an earlier one");
            }
        }
        return {};
    }

    static Result<std::string> token_bytes(const Value& entry, std::size_t rank) {
        const std::string where = "rank " + std::to_string(rank);
        OSTAL_TRYV(known_members(entry, where, {"rank", "token_bytes", "token_str"}));
        const Value* number = entry.find("rank");
        const auto found = number == nullptr ? fail(Code::kInvalidArgument, "absent") : number->to_uint64();
        if (!found || *found != rank) return malformed(where + " is not in its place");
        OSTAL_TRY(const std::string encoded, text_member(entry, "token_bytes", where));
        if (encoded.size() > kMaxTokenBytes / 3 * 4) {
            return fail(Code::kTooLarge, "tekken.json: " + where + " has more than " +
                                             std::to_string(kMaxTokenBytes) + " bytes");
        }
        const auto bytes = from_base64(encoded);
        if (!bytes || bytes->empty()) return malformed(where + " has token_bytes that are no base64");
        return std::string(as_text(*bytes));
    }

    Status read_settings(const Value* builder) {
        if (is_empty(builder)) return {};
        OSTAL_TRYV(known_members(*builder, "model_settings_builder", {"reasoning_effort"}));
        ReasoningEfforts efforts;
        const std::string where = "model_settings_builder.reasoning_effort";
        if (const Value* field = builder->find("reasoning_effort"); !is_empty(field)) {
            OSTAL_TRYV(known_members(*field, where, {"type", "accepts_none", "default", "values"}));
            const Value* optional = field->find("accepts_none");
            const Value* values = field->find("values");
            const Value* absent = field->find("default");
            if (optional == nullptr || !optional->is_bool() || values == nullptr || !values->is_array() ||
                (!is_empty(absent) && !absent->is_string())) {
                return malformed(where + " needs accepts_none, values and a text as default");
            }
            efforts.required = !optional->as_bool();
            if (!is_empty(absent)) efforts.when_absent = absent->as_string();
            for (const Value& value : values->as_array()) {
                if (!value.is_string()) return malformed(where + ".values has something else than text");
                efforts.values.push_back(value.as_string());
            }
        }
        out.reasoning_efforts = std::move(efforts);
        return {};
    }
};

}  // namespace

Result<RankBpeVocabulary> parse_tekken(std::string_view text) {
    OSTAL_TRY(const Value root, json::parse(text));
    Reader reader{root, {}};
    OSTAL_TRYV(reader.read());
    return std::move(reader.out);
}

}  // namespace ostal::engine
