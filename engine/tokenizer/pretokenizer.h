// Splits text into the pieces that byte-level BPE encodes one by one: regular expressions of published
// tokenizers as hand-written matchers, linear in the text.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ostal::engine {

// One way of cutting. All but kDigits cover every character.
enum class Split {
    // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    kGpt2,
    // (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
    // ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    kLlama3,
    kQwen2,  // kLlama3 with \p{N} instead of \p{N}{1,3}
    // Mistral's tekken: words break where a lower-case letter is followed by an upper-case one.
    // U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], L = [\p{Ll}\p{Lm}\p{Lo}\p{M}], X = [^\r\n\p{L}\p{N}]:
    // X?U*L+|X?U+L*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
    kTekken,
    kDigits,     // every \p{N} character alone, what lies between stays whole
    kDigitRuns,  // \p{N}+ alone, what lies between stays whole
};

// The Split of a regular expression as tokenizer.json files spell it; nothing for another expression.
std::optional<Split> split_of_regex(std::string_view regex);
// The splits of GGUF's `tokenizer.ggml.pre`, applied one after the other. kUnsupported names an unknown one.
Result<std::vector<Split>> splits_of_pre(std::string_view pre);

// Cuts `text` (valid UTF-8) and appends the pieces, none empty, which together are the text.
void split(Split how, std::string_view text, std::vector<std::string_view>& pieces);

}  // namespace ostal::engine
