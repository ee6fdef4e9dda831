// A text, a list of texts, a list of token ids or a list of such lists: `prompt` of /v1/completions and `input` of
// /v1/embeddings.
#pragma once

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::api {

using PromptInput = std::variant<std::string, std::vector<engine::TokenId>>;

// At least one and at most `max_count` inputs, none without tokens or text. kUnprocessable otherwise.
Status read_prompt_inputs(const json::Value& value, std::size_t max_count, std::vector<PromptInput>& out);

// The tokens of an input: a text is encoded (with bos where the model's files say so), ids are taken as they are.
// kUnprocessable for an id outside of the vocabulary, and the tokenizer's errors.
Result<std::vector<engine::TokenId>> tokens_of(const PromptInput& input, const engine::Tokenizer& tokenizer);

}  // namespace ostal::api
