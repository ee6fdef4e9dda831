#include "engine/tokenizer/pretokenizer.h"

#include <gtest/gtest.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/tokenizer/testing.h"
#include "engine/tokenizer/unicode.h"

namespace ostal::engine {
namespace {

// PCRE2 as oracle. Its \s has U+180E, which Unicode took out of White_Space: the class is spelled out.
class Oracle {
public:
    explicit Oracle(std::string pattern) {
        const std::string space =
            R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
        replace(pattern, R"([^\s)", "[^" + space);
        replace(pattern, R"(\s)", "[" + space + "]");
        replace(pattern, R"(\S)", "[^" + space + "]");
        int error = 0;
        PCRE2_SIZE at = 0;
        code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
        EXPECT_NE(code_, nullptr) << pattern << " at " << at;
        match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
    }
    ~Oracle() {
        pcre2_match_data_free(match_);
        pcre2_code_free(code_);
    }
    Oracle(const Oracle&) = delete;
    Oracle& operator=(const Oracle&) = delete;

    // The matches, and what lies between them.
    std::vector<std::string_view> split(std::string_view text) const {
        std::vector<std::string_view> pieces;
        std::size_t at = 0;
        while (at < text.size()) {
            const auto [begin, end] = find(text, at);
            if (begin > at) pieces.push_back(text.substr(at, begin - at));
            if (end > begin) pieces.push_back(text.substr(begin, end - begin));
            at = end;
        }
        return pieces;
    }

    bool matches(std::string_view text) const { return find(text, 0).first < text.size(); }

private:
    static void replace(std::string& text, std::string_view from, const std::string& to) {
        for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
            text.replace(at, from.size(), to);
        }
    }
    std::pair<std::size_t, std::size_t> find(std::string_view text, std::size_t from) const {
        const int count = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, 0,
                                      match_, nullptr);
        if (count < 0) return {text.size(), text.size()};
        const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match_);
        return {ends[0], ends[1]};
    }
    pcre2_code* code_ = nullptr;
    pcre2_match_data* match_ = nullptr;
};

struct Pattern {
    const char* name;
    Split split;
    const char* regex;
};
constexpr Pattern kPatterns[] = {
    {"gpt2", Split::kGpt2, R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
    {"llama3", Split::kLlama3,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"qwen2", Split::kQwen2,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"tekken", Split::kTekken,
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"digits", Split::kDigits, R"(\p{N})"},
    {"digit_runs", Split::kDigitRuns, R"(\p{N}+)"},
};

class AgainstPcre2 : public ::testing::TestWithParam<Pattern> {};

TEST_P(AgainstPcre2, SeededRandomTextsAreCutAlike) {
    const Oracle oracle(GetParam().regex);
    EXPECT_EQ(split_of_regex(GetParam().regex), GetParam().split);
    SeededRandom random(5);
    std::vector<std::string_view> pieces;
    for (int i = 0; i < 20'000; ++i) {
        const std::string text = testing::random_text(random, 1 + random.below(24));
        pieces.clear();
        split(GetParam().split, text, pieces);
        ASSERT_EQ(pieces, oracle.split(text)) << json::quote(text);
    }
}

// Short strings over the characters at which the patterns branch, all of them.
TEST_P(AgainstPcre2, AllShortTextsOverTheBranchingCharactersAreCutAlike) {
    const Oracle oracle(GetParam().regex);
    const std::vector<std::string> letters{"a",
                                           "S",
                                           "\xC5\xBF" /* U+017F */,
                                           "l",
                                           "e",
                                           "r",
                                           "'",
                                           "1",
                                           " ",
                                           "\t",
                                           "\n",
                                           "\r",
                                           "-",
                                           "/",
                                           "\xC2\xA0" /* U+00A0 */,
                                           "\xCC\x81" /* U+0301 */,
                                           "\xE4\xB8\x96" /* a letter without case */};
    std::vector<std::string_view> pieces;
    std::size_t count = 1;
    for (int length = 1; length <= 4; ++length) {
        count *= letters.size();
        for (std::size_t number = 0; number < count; ++number) {
            std::string text;
            for (std::size_t rest = number, i = 0; i < static_cast<std::size_t>(length);
                 ++i, rest /= letters.size()) {
                text += letters[rest % letters.size()];
            }
            pieces.clear();
            split(GetParam().split, text, pieces);
            ASSERT_EQ(pieces, oracle.split(text)) << json::quote(text);
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Patterns, AgainstPcre2, ::testing::ValuesIn(kPatterns),
                         [](const auto& pattern) { return std::string(pattern.param.name); });

TEST(Unicode, EveryCodePointHasPcre2sClass) {
    const std::pair<CharClass, const char*> classes[] = {
        {CharClass::kUpper, R"([\p{Lu}\p{Lt}])"},  {CharClass::kLower, R"(\p{Ll})"},
        {CharClass::kLetter, R"([\p{Lm}\p{Lo}])"}, {CharClass::kMark, R"(\p{M})"},
        {CharClass::kNumber, R"(\p{N})"},          {CharClass::kSpace, R"(\s)"}};
    for (const auto& [expected, regex] : classes) {
        const Oracle oracle(regex);
        for (char32_t point = 0; point < 0x110000; ++point) {
            if (point == 0xD800) point = 0xE000;
            std::string text;
            testing::append_utf8(text, point);
            ASSERT_EQ(char_class(point) == expected, oracle.matches(text))
                << regex << " U+" << std::hex << static_cast<unsigned>(point);
        }
    }
}

TEST(Pretokenizer, NamesOfGgufAreKnownOrRefusedByName) {
    EXPECT_EQ(*splits_of_pre("smollm"), (std::vector<Split>{Split::kDigits, Split::kGpt2}));
    EXPECT_EQ(*splits_of_pre("gpt-2"), (std::vector<Split>{Split::kGpt2}));
    EXPECT_EQ(*splits_of_pre("default"), (std::vector<Split>{Split::kGpt2}));
    EXPECT_EQ(*splits_of_pre("llama-bpe"), (std::vector<Split>{Split::kLlama3}));
    EXPECT_EQ(*splits_of_pre("tekken"), (std::vector<Split>{Split::kTekken}));
    const auto unknown = splits_of_pre("deepseek-coder");
    ASSERT_FALSE(unknown.has_value());
    EXPECT_EQ(unknown.error().code(), Code::kUnsupported);
    EXPECT_NE(unknown.error().message().find("deepseek-coder"), std::string::npos);
    EXPECT_FALSE(split_of_regex("[a-z]+").has_value());
}

}  // namespace
}  // namespace ostal::engine
