// Choices as chat messages: /v1/chat/completions and /v1/fim/completions.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "appliance/api/answer.h"
#include "appliance/api/tool_calls.h"
#include "appliance/serving/token_texts.h"

namespace ostal::api {

struct ChatFormOptions {
    std::size_t choices = 1;
    std::string prefix;           // the assistant's text that the answer continues; it is given back first
    bool continues_text = false;  // engine/request.h
    std::shared_ptr<const TokenTexts> token_texts;
    bool log_probs = false;
    // The request has tools: calls that the model writes become tool_calls.
    std::optional<CallTokens> tools;
    bool parallel_calls = true;  // false: the first call alone
};

// `random` gives the ids of calls without one and outlives the form.
std::shared_ptr<ChoiceForm> chat_form(ChatFormOptions options, RandomSource& random);

}  // namespace ostal::api
