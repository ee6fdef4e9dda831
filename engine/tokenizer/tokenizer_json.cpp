#include "engine/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>

#include "base/bytes.h"
#include "base/json.h"
#include "engine/tokenizer/instruct_format.h"

namespace ostal::engine {
namespace {

using json::Value;

tl::unexpected<Error> malformed(std::string what) {
    return fail(Code::kInvalidArgument, "tokenizer.json: " + std::move(what));
}
tl::unexpected<Error> unsupported(std::string what) {
    return fail(Code::kUnsupported, "tokenizer.json: " + std::move(what) + " is not supported");
}

bool is_empty(const Value* value) { return value == nullptr || value->is_null(); }

// Refuses members that are not named.
Status known_members(const Value& value, std::string_view where,
                     std::initializer_list<std::string_view> known) {
    if (!value.is_object()) return malformed(std::string(where) + " is no object");
    for (const auto& [key, member] : value.as_object()) {
        if (std::find(known.begin(), known.end(), key) == known.end()) {
            return unsupported("the member " + json::quote(key.substr(0, 64)) + " of " + std::string(where));
        }
    }
    return {};
}

// The boolean member, or `absent` when there is none or null.
Result<bool> bool_member(const Value& value, std::string_view key, bool absent) {
    const Value* member = value.find(key);
    if (is_empty(member)) return absent;
    if (!member->is_bool()) return malformed(std::string(key) + " is no boolean");
    return member->as_bool();
}
Result<std::string> text_member(const Value& value, std::string_view key) {
    const Value* member = value.find(key);
    if (is_empty(member)) return std::string();
    if (!member->is_string()) return malformed(std::string(key) + " is no string");
    return member->as_string();
}
Result<std::string> type_of(const Value& value, std::string_view where) {
    if (!value.is_object()) return malformed(std::string(where) + " is no object");
    OSTAL_TRY(std::string type, text_member(value, "type"));
    return type.substr(0, 64);
}

// One step or the steps of a "Sequence" whose list has the name `list`.
Result<std::vector<const Value*>> steps_of(const Value* value, std::string_view where,
                                           std::string_view list) {
    std::vector<const Value*> steps;
    if (is_empty(value)) return steps;
    OSTAL_TRY(const std::string type, type_of(*value, where));
    if (type != "Sequence") return std::vector<const Value*>{value};
    OSTAL_TRYV(known_members(*value, where, {"type", list}));
    const Value* members = value->find(list);
    if (members == nullptr || !members->is_array())
        return malformed(std::string(where) + " has no list of steps");
    for (const Value& step : members->as_array()) steps.push_back(&step);
    return steps;
}

struct Reader {
    const Value& root;
    RankBpeVocabulary out;
    TokenId template_bos = -1;
    TokenId template_eos = -1;

    Status read() {
        OSTAL_TRYV(known_members(root, "the file",
                                 {"version", "truncation", "padding", "added_tokens", "normalizer",
                                  "pre_tokenizer", "post_processor", "decoder", "model"}));
        OSTAL_TRYV(read_normalizer());
        OSTAL_TRYV(read_pre_tokenizer());
        OSTAL_TRYV(read_model());
        OSTAL_TRYV(read_added_tokens());
        OSTAL_TRYV(read_post_processor());
        return read_decoder();
    }

    bool replaces_spaces = false;
    bool metaspace = false;

    Status read_normalizer() {
        OSTAL_TRY(const auto steps, steps_of(root.find("normalizer"), "normalizer", "normalizers"));
        for (const Value* step : steps) {
            OSTAL_TRY(const std::string type, type_of(*step, "normalizer"));
            if (type == "Prepend") {
                OSTAL_TRYV(known_members(*step, "Prepend", {"type", "prepend"}));
                OSTAL_TRY(const std::string text, text_member(*step, "prepend"));
                if (text != kSpaceSymbol)
                    return unsupported("a Prepend normaliser of " + json::quote(text.substr(0, 64)));
                out.dummy_prefix = DummyPrefix::kAlways;
            } else if (type == "Replace") {
                OSTAL_TRYV(is_space_replacement(*step));
                replaces_spaces = true;
            } else {
                return unsupported("the normaliser " + json::quote(type));
            }
        }
        if (out.dummy_prefix != DummyPrefix::kNone && !replaces_spaces) {
            return unsupported("a Prepend normaliser without a Replace of spaces");
        }
        return {};
    }

    static Status is_space_replacement(const Value& step) {
        OSTAL_TRYV(known_members(step, "Replace", {"type", "pattern", "content"}));
        const Value* pattern = step.find("pattern");
        const Value* text = pattern == nullptr ? nullptr : pattern->find("String");
        OSTAL_TRY(const std::string content, text_member(step, "content"));
        if (text == nullptr || !text->is_string() || text->as_string() != " " || content != kSpaceSymbol) {
            return unsupported("a Replace normaliser other than of a space by U+2581");
        }
        return {};
    }

    Status read_pre_tokenizer() {
        OSTAL_TRY(const auto steps, steps_of(root.find("pre_tokenizer"), "pre_tokenizer", "pretokenizers"));
        bool byte_level = false;
        for (const Value* step : steps) {
            if (byte_level || metaspace) return unsupported("a pre-tokenizer after ByteLevel or Metaspace");
            OSTAL_TRY(const std::string type, type_of(*step, "pre_tokenizer"));
            if (type == "Split") {
                OSTAL_TRYV(read_split(*step));
            } else if (type == "Digits") {
                OSTAL_TRYV(known_members(*step, "Digits", {"type", "individual_digits"}));
                OSTAL_TRY(const bool individual, bool_member(*step, "individual_digits", false));
                out.splits.push_back(individual ? Split::kDigits : Split::kDigitRuns);
            } else if (type == "ByteLevel") {
                OSTAL_TRYV(read_byte_level(*step));
                byte_level = true;
            } else if (type == "Metaspace") {
                OSTAL_TRYV(read_metaspace(*step));
            } else {
                return unsupported("the pre-tokenizer " + json::quote(type));
            }
        }
        out.byte_level = byte_level;
        if (byte_level && replaces_spaces) return unsupported("ByteLevel behind a normaliser");
        if (!byte_level && !out.splits.empty()) return unsupported("a Split or Digits without ByteLevel");
        if (!byte_level && metaspace == replaces_spaces) {
            return unsupported("BPE that neither is byte-level nor spells spaces as U+2581 once");
        }
        return {};
    }

    Status read_split(const Value& step) {
        OSTAL_TRYV(known_members(step, "Split", {"type", "pattern", "behavior", "invert"}));
        const Value* pattern = step.find("pattern");
        const Value* regex = pattern == nullptr ? nullptr : pattern->find("Regex");
        if (regex == nullptr || !regex->is_string())
            return unsupported("a Split by something else than a regular expression");
        const auto split = split_of_regex(regex->as_string());
        if (!split) return unsupported("a Split by " + json::quote(regex->as_string().substr(0, 200)));
        OSTAL_TRY(const std::string behavior, text_member(step, "behavior"));
        OSTAL_TRY(const bool invert, bool_member(step, "invert", false));
        // The patterns match every character but those of kDigits and kDigitRuns: then keeping the matches
        // alone is the same as cutting around them.
        const bool covers = *split != Split::kDigits && *split != Split::kDigitRuns;
        if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert && covers)) {
            return unsupported("a Split with behaviour " + json::quote(behavior.substr(0, 64)));
        }
        out.splits.push_back(*split);
        return {};
    }

    Status read_byte_level(const Value& step) {
        OSTAL_TRYV(
            known_members(step, "ByteLevel", {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
        OSTAL_TRY(const bool prefix, bool_member(step, "add_prefix_space", true));
        OSTAL_TRY(const bool use_regex, bool_member(step, "use_regex", true));
        if (prefix) return unsupported("ByteLevel with add_prefix_space");
        if (use_regex) out.splits.push_back(Split::kGpt2);
        return {};
    }

    Status read_metaspace(const Value& step) {
        metaspace = true;
        OSTAL_TRYV(
            known_members(step, "Metaspace",
                          {"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"}));
        OSTAL_TRY(const std::string replacement, text_member(step, "replacement"));
        if (replacement != kSpaceSymbol) return unsupported("a Metaspace other than U+2581");
        OSTAL_TRY(std::string scheme, text_member(step, "prepend_scheme"));
        OSTAL_TRY(const bool prefix, bool_member(step, "add_prefix_space", true));
        if (scheme.empty()) scheme = prefix ? "always" : "never";
        if (scheme == "always") {
            out.dummy_prefix = DummyPrefix::kUnlessSpace;
        } else if (scheme == "first") {
            out.dummy_prefix = DummyPrefix::kFirstUnlessSpace;
        } else if (scheme != "never") {
            return unsupported("the prepend_scheme " + json::quote(scheme.substr(0, 64)));
        }
        OSTAL_TRY(out.split_at_spaces, bool_member(step, "split", true));
        return {};
    }

    Status read_model() {
        const Value* model = root.find("model");
        if (is_empty(model)) return malformed("it has no model");
        OSTAL_TRY(const std::string type, type_of(*model, "model"));
        if (!type.empty() && type != "BPE") return unsupported("the model " + json::quote(type));
        OSTAL_TRYV(
            known_members(*model, "model",
                          {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                           "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
        if (const Value* dropout = model->find("dropout");
            !is_empty(dropout) && !(dropout->is_number() && dropout->as_double() == 0)) {
            return unsupported("BPE with dropout");
        }
        for (const std::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
            OSTAL_TRY(const std::string text, text_member(*model, affix));
            if (!text.empty()) return unsupported("BPE with " + std::string(affix));
        }
        OSTAL_TRY(out.fuse_unknown, bool_member(*model, "fuse_unk", false));
        OSTAL_TRY(out.byte_fallback, bool_member(*model, "byte_fallback", false));
        OSTAL_TRY(out.ignore_merges, bool_member(*model, "ignore_merges", false));
        if (out.byte_level && out.byte_fallback) return unsupported("byte-level BPE with byte_fallback");
        OSTAL_TRYV(read_vocab(model->find("vocab")));
        OSTAL_TRYV(read_merges(model->find("merges")));
        OSTAL_TRY(const std::string unknown, text_member(*model, "unk_token"));
        return set_unknown(unknown);
    }

    Status read_vocab(const Value* vocab) {
        if (vocab == nullptr || !vocab->is_object()) return malformed("model.vocab is no object");
        for (const auto& [name, value] : vocab->as_object()) {
            OSTAL_TRY(Token * token, token_at(value, name));
            if (!token->name.empty()) return malformed("two tokens have one id");
            token->name = name;
            token->type = out.byte_fallback && byte_of_name(name) ? TokenType::kByte : TokenType::kNormal;
        }
        return {};
    }

    // The token of an id, the table grown to it; what no token fills stays an unused one without a name.
    Result<Token*> token_at(const Value& id, std::string_view name) {
        if (name.empty()) return malformed("a token without a name");
        const auto number = id.to_int64();
        if (!number || *number < 0 || *number >= static_cast<std::int64_t>(kMaxVocabulary)) {
            return malformed("a token's id is no number in range");
        }
        const auto at = static_cast<std::size_t>(*number);
        while (out.tokens.size() <= at) out.tokens.push_back({"", "", TokenType::kUnused});
        return &out.tokens[at];
    }

    Status read_merges(const Value* merges) {
        if (merges == nullptr || !merges->is_array()) return malformed("model.merges is no list");
        out.merges.reserve(merges->as_array().size());
        for (const Value& merge : merges->as_array()) {
            if (merge.is_array() && merge.as_array().size() == 2 && merge.as_array()[0].is_string() &&
                merge.as_array()[1].is_string()) {
                out.merges.push_back({merge.as_array()[0].as_string(), merge.as_array()[1].as_string()});
                continue;
            }
            if (!merge.is_string()) return malformed("a merge is no pair");
            const std::string& text = merge.as_string();
            const std::size_t space = text.find(' ');
            if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
                return malformed("a merge is no pair");
            }
            out.merges.push_back({text.substr(0, space), text.substr(space + 1)});
        }
        return {};
    }

    TokenId find(std::string_view name) const {
        for (std::size_t i = 0; i < out.tokens.size(); ++i) {
            if (out.tokens[i].name == name) return static_cast<TokenId>(i);
        }
        return -1;
    }

    Status set_unknown(const std::string& name) {
        if (name.empty()) return {};
        out.unknown = find(name);
        if (out.unknown < 0) return malformed("unk_token is not in the vocabulary");
        return {};
    }

    Status read_added_tokens() {
        const Value* added = root.find("added_tokens");
        if (!is_empty(added)) {
            if (!added->is_array()) return malformed("added_tokens is no list");
            for (const Value& token : added->as_array()) OSTAL_TRYV(read_added_token(token));
        }
        if (out.unknown < 0) return {};
        // In a byte-level vocabulary the unknown token is a control token (the end of text), which text never
        // gives.
        Token& unknown = out.tokens[static_cast<std::size_t>(out.unknown)];
        if (out.byte_level && unknown.type == TokenType::kControl) {
            out.unknown = -1;
        } else {
            unknown.type = TokenType::kUnknown;
        }
        return {};
    }

    Status read_added_token(const Value& value) {
        OSTAL_TRYV(
            known_members(value, "added_tokens",
                          {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
        OSTAL_TRY(const std::string content, text_member(value, "content"));
        const Value* id = value.find("id");
        if (id == nullptr) return malformed("an added token without an id");
        OSTAL_TRY(Token * token, token_at(*id, content));
        if (!token->name.empty() && token->name != content)
            return malformed("an added token has another token's id");
        OSTAL_TRY(const bool marked, bool_member(value, "special", false));
        // Some files mark the control tokens of a chat format as plain ones; text must never give them.
        const bool special = marked || is_control_name(content);
        if (!special) {
            for (const std::string_view option : {"single_word", "lstrip", "rstrip"}) {
                OSTAL_TRY(const bool set, bool_member(value, option, false));
                if (set) return unsupported("an added token with " + std::string(option));
            }
            OSTAL_TRY(const bool normalized, bool_member(value, "normalized", true));
            if (normalized && !out.byte_level) {
                return unsupported("an added token that is normalized, with spaces as U+2581");
            }
        }
        token->name = content;
        token->type = special ? TokenType::kControl : TokenType::kUserDefined;
        return {};
    }

    Status read_post_processor() {
        OSTAL_TRY(const auto steps, steps_of(root.find("post_processor"), "post_processor", "processors"));
        for (const Value* step : steps) {
            OSTAL_TRY(const std::string type, type_of(*step, "post_processor"));
            if (type == "ByteLevel") continue;  // trims offsets, changes no ids
            if (type != "TemplateProcessing") return unsupported("the post-processor " + json::quote(type));
            const Value* single = step->find("single");
            if (single == nullptr || !single->is_array())
                return malformed("TemplateProcessing has no list \"single\"");
            bool after_text = false;
            for (const Value& piece : single->as_array()) OSTAL_TRYV(read_template_piece(piece, after_text));
        }
        return {};
    }

    Status read_template_piece(const Value& piece, bool& after_text) {
        if (piece.find("Sequence") != nullptr) {
            after_text = true;
            return {};
        }
        const Value* special = piece.find("SpecialToken");
        const Value* name = special == nullptr ? nullptr : special->find("id");
        if (name == nullptr || !name->is_string()) return malformed("a piece of TemplateProcessing");
        TokenId& id = after_text ? template_eos : template_bos;
        if (id >= 0) return unsupported("TemplateProcessing with two tokens on one side of the text");
        id = find(name->as_string());
        if (id < 0) return malformed("TemplateProcessing names a token that does not exist");
        return {};
    }

    Status read_decoder() {
        OSTAL_TRY(const auto steps, steps_of(root.find("decoder"), "decoder", "decoders"));
        std::string types;
        for (const Value* step : steps) {
            OSTAL_TRY(const std::string type, type_of(*step, "decoder"));
            types += (types.empty() ? "" : " ") + type;
        }
        constexpr std::array<std::string_view, 5> kSpelled{
            "Metaspace", "ByteFallback Metaspace", "Replace ByteFallback Fuse Strip",
            "Replace ByteFallback Fuse", "ByteFallback Fuse Metaspace"};
        const bool known = out.byte_level
                               ? types == "ByteLevel"
                               : std::find(kSpelled.begin(), kSpelled.end(), types) != kSpelled.end();
        if (!known) return unsupported("the decoder " + json::quote(types.substr(0, 200)));
        return {};
    }

    // bos and eos: as the caller says, else as the template says, else by the usual names.
    Status set_ends(const SpecialIds& special) {
        const auto by_name = [&](std::initializer_list<std::string_view> names) -> TokenId {
            for (const std::string_view name : names) {
                const TokenId id = find(name);
                if (id >= 0 && out.tokens[static_cast<std::size_t>(id)].type == TokenType::kControl)
                    return id;
            }
            return -1;
        };
        out.bos = special.bos >= 0 ? special.bos : template_bos;
        out.add_bos = special.add_bos.value_or(template_bos >= 0);
        if (out.bos < 0) out.bos = by_name({"<s>", "<|begin_of_text|>"});
        out.eos = special.eos >= 0 ? special.eos : template_eos;
        if (out.eos < 0) {
            out.eos = by_name({"</s>", "<|eot_id|>", "<|im_end|>", "<|end_of_text|>", "<|endoftext|>"});
        }
        // Text must never give the ends of a text, whatever the file marks them as.
        for (const TokenId id : {out.bos, out.eos}) {
            if (id >= static_cast<std::int64_t>(out.tokens.size()))
                return malformed("bos or eos is out of range");
            if (id >= 0) out.tokens[static_cast<std::size_t>(id)].type = TokenType::kControl;
        }
        return {};
    }
};

}  // namespace

Result<RankBpeVocabulary> parse_tokenizer_json(std::string_view text, const SpecialIds& special) {
    OSTAL_TRY(const Value root, json::parse(text));
    Reader reader{root, {}};
    OSTAL_TRYV(reader.read());
    OSTAL_TRYV(reader.set_ends(special));
    return std::move(reader.out);
}

}  // namespace ostal::engine
