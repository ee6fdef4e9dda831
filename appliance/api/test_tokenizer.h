// For tests of this folder: a vocabulary of given words.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace ostal::api {

// Ids are positions in the list. Control tokens have a name and no bytes. Encodes nothing.
class WordTokenizer final : public engine::Tokenizer {
public:
    struct Word {
        std::string text;
        bool control = false;
    };
    explicit WordTokenizer(std::vector<Word> words) : words_(std::move(words)) {}

    std::int32_t vocab_size() const override { return static_cast<std::int32_t>(words_.size()); }
    engine::TokenId bos() const override { return -1; }
    engine::TokenId eos() const override { return -1; }
    std::optional<engine::TokenId> control(std::string_view name) const override {
        for (std::size_t i = 0; i < words_.size(); ++i) {
            if (words_[i].control && words_[i].text == name) return static_cast<engine::TokenId>(i);
        }
        return std::nullopt;
    }
    bool is_control(engine::TokenId id) const override { return word(id).control; }
    Result<std::vector<engine::TokenId>> encode(std::string_view) const override {
        return fail(Code::kUnsupported, "words are not encoded");
    }
    std::string_view token_bytes(engine::TokenId id) const override {
        return word(id).control ? std::string_view() : std::string_view(word(id).text);
    }
    std::string decode(const std::vector<engine::TokenId>&) const override { return {}; }
    bool has_dummy_prefix() const override { return true; }

private:
    const Word& word(engine::TokenId id) const { return words_.at(static_cast<std::size_t>(id)); }
    std::vector<Word> words_;
};

}  // namespace ostal::api
