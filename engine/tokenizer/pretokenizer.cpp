#include "engine/tokenizer/pretokenizer.h"

#include <array>
#include <string>

#include "engine/tokenizer/unicode.h"

namespace ostal::engine {
namespace {

// A position in the text with the character there decoded; `at_end` has no character.
class Cursor {
public:
    explicit Cursor(std::string_view text) : text_(text) { decode(); }
    bool at_end() const { return at_ == text_.size(); }
    std::size_t position() const { return at_; }
    char32_t point() const { return char_.point; }
    CharClass char_class() const { return class_; }
    bool letter() const { return !at_end() && is_letter(class_); }
    bool number() const { return !at_end() && class_ == CharClass::kNumber; }
    // The two sides of tekken's words: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}].
    bool upper_side() const { return !at_end() && (class_ == CharClass::kUpper || both_sides()); }
    bool lower_side() const { return !at_end() && (class_ == CharClass::kLower || both_sides()); }
    bool space() const { return !at_end() && class_ == CharClass::kSpace; }
    bool newline() const { return !at_end() && (char_.point == '\r' || char_.point == '\n'); }
    // [^\s\p{L}\p{N}]
    bool symbol() const { return !at_end() && !space() && !letter() && !number(); }
    void next() {
        at_ += char_.size;
        decode();
    }
    template <typename Predicate>
    std::size_t skip(Predicate predicate, std::size_t limit = SIZE_MAX) {
        std::size_t count = 0;
        for (; count < limit && predicate(*this); ++count) next();
        return count;
    }

private:
    bool both_sides() const { return class_ == CharClass::kLetter || class_ == CharClass::kMark; }
    void decode() {
        if (at_end()) return;
        char_ = first_char(text_.substr(at_));
        class_ = engine::char_class(char_.point);
    }
    std::string_view text_;
    std::size_t at_ = 0;
    Utf8Char char_;
    CharClass class_ = CharClass::kOther;
};

constexpr auto kLetters = [](const Cursor& c) { return c.letter(); };
constexpr auto kNumbers = [](const Cursor& c) { return c.number(); };
constexpr auto kSymbols = [](const Cursor& c) { return c.symbol(); };
constexpr auto kNewlines = [](const Cursor& c) { return c.newline(); };
constexpr auto kNewlinesAndSlashes = [](const Cursor& c) {
    return c.newline() || (!c.at_end() && c.point() == '/');
};

// 's 't 're 've 'm 'll 'd; ignoring case also 'S and, by Unicode's case folding, U+017F for s.
bool skip_contraction(Cursor& at, bool ignore_case) {
    if (at.at_end() || at.point() != '\'') return false;
    const auto folded = [&](const Cursor& c) -> char32_t {
        if (c.at_end()) return 0;
        if (!ignore_case) return c.point();
        if (c.point() == 0x17F) return 's';
        return c.point() >= 'A' && c.point() <= 'Z' ? c.point() + ('a' - 'A') : c.point();
    };
    Cursor look = at;
    look.next();
    const char32_t first = folded(look);
    if (first == 0) return false;
    look.next();
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        at = look;
        return true;
    }
    const char32_t second = folded(look);
    const bool two = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
    if (!two) return false;
    look.next();
    at = look;
    return true;
}

// \s+(?!\S)|\s+ at a space: the run without its last character when something follows it and it is longer.
void skip_spaces(Cursor& at) {
    Cursor last = at;
    std::size_t count = 0;
    while (at.space()) {
        last = at;
        at.next();
        ++count;
    }
    if (!at.at_end() && count > 1) at = last;
}

void next_gpt2(Cursor& at) {
    if (skip_contraction(at, false)) return;
    Cursor look = at;
    if (look.point() == ' ') look.next();
    if (look.letter() || look.number() || look.symbol()) {
        at = look;
        if (at.skip(kLetters) == 0 && at.skip(kNumbers) == 0) at.skip(kSymbols);
        return;
    }
    skip_spaces(at);
}

//  ?[^\s\p{L}\p{N}]+T*|\s*[\r\n]+|\s+(?!\S)|\s+ with `trailing` for T.
template <typename Trailing>
void skip_symbols_or_spaces(Cursor& at, Trailing trailing) {
    Cursor look = at;
    if (look.point() == ' ') look.next();
    if (look.symbol()) {
        at = look;
        at.skip(kSymbols);
        at.skip(trailing);
        return;
    }
    // \s*[\r\n]+: to the last line break of the run of spaces
    look = at;
    std::optional<Cursor> after_newline;
    while (look.space()) {
        const bool newline = look.newline();
        look.next();
        if (newline) after_newline = look;
    }
    if (after_newline) {
        at = *after_newline;
        return;
    }
    skip_spaces(at);
}

void next_llama3(Cursor& at, std::size_t digits) {
    if (skip_contraction(at, true)) return;
    // [^\r\n\p{L}\p{N}]?\p{L}+
    if (at.letter()) {
        at.skip(kLetters);
        return;
    }
    Cursor look = at;
    if (!at.newline() && !at.number()) {
        look.next();
        if (look.letter()) {
            at = look;
            at.skip(kLetters);
            return;
        }
    }
    if (at.skip(kNumbers, digits) > 0) return;
    skip_symbols_or_spaces(at, kNewlines);
}

// U*L+, as what backtracking leaves of it: a run of U that no lower-case letter follows ends behind its last
// character that is on both sides.
bool skip_mixed_word(Cursor& at) {
    Cursor look = at;
    std::optional<Cursor> after_both;
    while (look.upper_side()) {
        const bool both = look.lower_side();
        look.next();
        if (both) after_both = look;
    }
    if (look.lower_side()) {
        look.skip([](const Cursor& c) { return c.lower_side(); });
        at = look;
        return true;
    }
    if (!after_both) return false;
    at = *after_both;
    return true;
}

// U+L*
bool skip_upper_word(Cursor& at) {
    if (at.skip([](const Cursor& c) { return c.upper_side(); }) == 0) return false;
    at.skip([](const Cursor& c) { return c.lower_side(); });
    return true;
}

void next_tekken(Cursor& at) {
    for (const auto skip_word : {skip_mixed_word, skip_upper_word}) {
        Cursor look = at;
        if (!at.newline() && !at.letter() && !at.number()) {
            look.next();
            if (skip_word(look)) {
                at = look;
                return;
            }
        }
        if (skip_word(at)) return;
    }
    if (at.skip(kNumbers, 1) > 0) return;
    skip_symbols_or_spaces(at, kNewlinesAndSlashes);
}

void next_digits(Cursor& at, bool runs) {
    if (at.skip(kNumbers, runs ? SIZE_MAX : 1) > 0) return;
    at.skip([](const Cursor& c) { return !c.at_end() && !c.number(); });
}

void next_piece(Split how, Cursor& at) {
    switch (how) {
        case Split::kGpt2: return next_gpt2(at);
        case Split::kLlama3: return next_llama3(at, 3);
        case Split::kQwen2: return next_llama3(at, 1);
        case Split::kTekken: return next_tekken(at);
        case Split::kDigits: return next_digits(at, false);
        case Split::kDigitRuns: return next_digits(at, true);
    }
}

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Written with the contractions joined in some files; the same set of matches.
constexpr std::string_view kGpt2RegexJoined =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenRegex =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace

std::optional<Split> split_of_regex(std::string_view regex) {
    if (regex == kGpt2Regex || regex == kGpt2RegexJoined) return Split::kGpt2;
    if (regex == kLlama3Regex) return Split::kLlama3;
    if (regex == kQwen2Regex) return Split::kQwen2;
    if (regex == kTekkenRegex) return Split::kTekken;
    if (regex == R"(\p{N})") return Split::kDigits;
    if (regex == R"(\p{N}+)") return Split::kDigitRuns;
    return std::nullopt;
}

Result<std::vector<Split>> splits_of_pre(std::string_view pre) {
    if (pre.empty() || pre == "default" || pre == "gpt-2") return std::vector<Split>{Split::kGpt2};
    if (pre == "smollm") return std::vector<Split>{Split::kDigits, Split::kGpt2};
    if (pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3") return std::vector<Split>{Split::kLlama3};
    if (pre == "qwen2") return std::vector<Split>{Split::kQwen2};
    if (pre == "tekken") return std::vector<Split>{Split::kTekken};
    return fail(Code::kUnsupported,
                "the pre-tokenizer \"" + std::string(pre.substr(0, 64)) + "\" is not built in");
}

void split(Split how, std::string_view text, std::vector<std::string_view>& pieces) {
    Cursor at(text);
    while (!at.at_end()) {
        const std::size_t begin = at.position();
        next_piece(how, at);
        pieces.push_back(text.substr(begin, at.position() - begin));
    }
}

}  // namespace ostal::engine
