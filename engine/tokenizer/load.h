// Tokenizers from files and embedded vocabularies: SentencePiece BPE `.model`, `tekken.json`, Hugging Face
// `tokenizer.json` (BPE kinds), GGUF-embedded. Everything is untrusted input; what is not understood is
// refused by name.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace ostal::engine {

// What a model's config.json says of its special tokens; a tokenizer.json does not say it.
struct SpecialIds {
    TokenId bos = -1;  // -1: as the tokenizer file says, else by conventional names
    TokenId eos = -1;
    std::optional<bool> add_bos =
        std::nullopt;  // nothing: SentencePiece does, a tokenizer.json says it in its post-processor
};

// `name` decides the kind: "*tekken*.json" is a tekken vocabulary (its ends of a text are its own, of
// `special` add_bos alone is read), other "*.json" a Hugging Face tokenizer.json, all else
// ("tokenizer.model", "tokenizer.model.v3", "…model.v7") a SentencePiece model. kInvalidArgument (malformed),
// kUnsupported (names what: another model type, a normaliser, a pattern …), kTooLarge.
Result<std::unique_ptr<Tokenizer>> load_tokenizer_file(ByteSpan bytes, std::string_view name,
                                                       const SpecialIds& special = {});

// From a GGUF file's metadata. Errors as above; an unknown `pre` is kUnsupported.
Result<std::unique_ptr<Tokenizer>> load_embedded_tokenizer(const EmbeddedVocabulary& vocabulary);

// Which of a model's files holds its tokenizer: "tekken.json" (as mistral-common chooses), else the newest
// "tokenizer.model.v<N>", else "tokenizer.model", "tokenizer.json"; nothing when there is none (a GGUF file
// then embeds it).
std::optional<std::string> choose_tokenizer_file(std::span<const std::string> names);

}  // namespace ostal::engine
