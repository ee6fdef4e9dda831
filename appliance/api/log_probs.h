// Log-probabilities as clients see them, in the two JSON shapes.
#pragma once

#include <vector>

#include "appliance/serving/token_texts.h"
#include "base/json.h"
#include "engine/token_sink.h"

namespace ostal::api {

// Tokens of one choice in the order they were generated.
struct ScoredTokens {
    const std::vector<engine::TokenId>& tokens;
    const std::vector<engine::TokenLogProbs>& log_probs;  // one for each token
    bool begin_text;  // the first of them is the first of a text of its own (its dummy prefix space is not shown)
};

// OpenAI's chat shape: {"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}. Tokens without bytes
// (the end of the turn) are left out. Bytes that are no UTF-8 are U+FFFD in `token`.
json::Value chat_log_probs(const TokenTexts& texts, const ScoredTokens& scored);

// The legacy shape: {"tokens", "token_logprobs", "top_logprobs", "text_offset"}. `offset` is where the tokens' text
// begins in the choice's text, in code points; it is moved behind them. Of rivals with one text the likelier is shown.
json::Value text_log_probs(const TokenTexts& texts, const ScoredTokens& scored, std::int64_t& offset);

// Code points of a valid text.
std::int64_t count_code_points(std::string_view text);

}  // namespace ostal::api
