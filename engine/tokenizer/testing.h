// For this folder's tests: golden files, and tokenizer files that are not kept in the repository.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/random.h"
#include "engine/tokenizer/load.h"

namespace ostal::engine::testing {

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file.good()) << path << " cannot be read";
    return {std::istreambuf_iterator<char>(file), {}};
}

inline json::Value golden(const std::string& name) {
    auto value = json::parse(read_file("tests/golden/" + name));
    EXPECT_TRUE(value.has_value()) << name;
    return std::move(*value);
}

// $variable/name; nothing when the variable is not set (the test is then skipped). A variable that is set and
// a file that is missing fail the test.
inline std::optional<std::string> file_under(const char* variable, const std::string& name) {
    const char* folder = std::getenv(variable);
    if (folder == nullptr) return std::nullopt;
    return std::string(folder) + "/" + name;
}

inline std::unique_ptr<Tokenizer> load(const std::string& path) {
    auto tokenizer = load_tokenizer_file(as_bytes(read_file(path)), path);
    if (!tokenizer) ADD_FAILURE() << path << ": " << tokenizer.error().to_string();
    return tokenizer ? std::move(*tokenizer) : nullptr;
}

inline std::unique_ptr<Tokenizer> ostal_mini() { return load("models/ostal-mini/tokenizer.model"); }

inline std::vector<TokenId> ids_of(const json::Value& value) {
    std::vector<TokenId> ids;
    for (const json::Value& id : value.as_array()) ids.push_back(static_cast<TokenId>(*id.to_int64()));
    return ids;
}

// tekken_240718.json of $OSTAL_TOKENIZERS, read once a process; nullptr when the variable is not set. It
// names no control tokens: it has the conventional ones, which are those of the golden files.
inline const Tokenizer* tekken() {
    static const std::unique_ptr<Tokenizer> kTokenizer = []() -> std::unique_ptr<Tokenizer> {
        const auto path = file_under("OSTAL_TOKENIZERS", "tekken_240718.json");
        return path ? load(*path) : nullptr;
    }();
    return kTokenizer.get();
}
// A tekken.json of `control` tokens in the order of their ids, the 256 bytes, and `more` ordinary tokens.
inline json::Value tekken_file(const std::vector<std::string>& control,
                               const std::vector<std::string>& more) {
    json::Array special;
    for (const std::string& name : control) {
        special.push_back(json::Object{
            {"rank", static_cast<std::int64_t>(special.size())}, {"token_str", name}, {"is_control", true}});
    }
    json::Array vocab;
    const auto add = [&](std::string_view bytes) {
        vocab.push_back(json::Object{{"rank", static_cast<std::int64_t>(vocab.size())},
                                     {"token_bytes", to_base64(as_bytes(bytes))},
                                     {"token_str", nullptr}});
    };
    for (unsigned byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
    for (const std::string& token : more) add(token);
    constexpr const char* kPattern =
        R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    return json::Object{{"config", json::Object{{"pattern", kPattern},
                                                {"num_vocab_tokens", vocab.size()},
                                                {"default_vocab_size", vocab.size() + special.size()},
                                                {"default_num_special_tokens", special.size()},
                                                {"version", "v13"}}},
                        {"vocab", std::move(vocab)},
                        {"special_tokens", std::move(special)}};
}

constexpr const char* kNoTokenizers =
    "OSTAL_TOKENIZERS does not name the folder of Mistral's tokenizer files";

inline std::string spell(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    std::string out;
    for (const TokenId id : ids) {
        const auto bytes = tokenizer.token_bytes(id);
        out += std::to_string(id) + (bytes.empty() ? "" : "(" + json::quote(bytes) + ")") + " ";
    }
    return out;
}

// All "cases" of a text-*.json: ids, and the decoded text where the file has it.
inline void expect_golden_texts(const Tokenizer& tokenizer, const json::Value& file) {
    for (const json::Value& entry : file.find("cases")->as_array()) {
        const std::string& text = entry.find("text")->as_string();
        const auto ids = tokenizer.encode(text);
        ASSERT_TRUE(ids.has_value()) << json::quote(text) << ": " << ids.error().to_string();
        const auto expected = ids_of(*entry.find("ids"));
        EXPECT_EQ(*ids, expected) << json::quote(text) << "\n  got  " << spell(tokenizer, *ids) << "\n  want "
                                  << spell(tokenizer, expected);
        if (const json::Value* decoded = entry.find("decoded")) {
            EXPECT_EQ(tokenizer.decode(*ids), decoded->as_string());
        }
    }
}

inline void append_utf8(std::string& out, char32_t point) {
    const auto byte = [&](char32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
    if (point < 0x80) {
        byte(point);
    } else if (point < 0x800) {
        byte(0xC0 | point >> 6);
        byte(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        byte(0xE0 | point >> 12);
        byte(0x80 | (point >> 6 & 0x3F));
        byte(0x80 | (point & 0x3F));
    } else {
        byte(0xF0 | point >> 18);
        byte(0x80 | (point >> 12 & 0x3F));
        byte(0x80 | (point >> 6 & 0x3F));
        byte(0x80 | (point & 0x3F));
    }
}

// Text that looks like text: words, spaces, digits, line breaks, contractions, and characters of every plane.
inline std::string random_text(SeededRandom& random, std::size_t characters) {
    static const std::vector<std::string> kWords{"the", " and", "d'",  "l'",   " don't", "'S", "I'LL",
                                                 "'re", "\r\n", "été", "日本", " ",      "  ", "\t",
                                                 "\n",  "123",  "x=",  "==",   "½",      "²"};
    std::string out;
    for (std::size_t i = 0; i < characters; ++i) {
        switch (random.below(8)) {
            case 0: out += kWords[random.below(kWords.size())]; break;
            case 1: out += ' '; break;
            case 2: out += static_cast<char>(random.below(128)); break;
            case 3: append_utf8(out, static_cast<char32_t>(random.below(0x250))); break;
            case 4: append_utf8(out, static_cast<char32_t>(0x2000 + random.below(0x80))); break;
            case 5: append_utf8(out, static_cast<char32_t>(random.below(0xD800))); break;
            case 6: append_utf8(out, static_cast<char32_t>(0xE000 + random.below(0x110000 - 0xE000))); break;
            default: out += static_cast<char>('a' + random.below(26));
        }
    }
    return out;
}

}  // namespace ostal::engine::testing
