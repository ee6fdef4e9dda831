// Choices as chat messages: /v1/chat/completions and /v1/fim/completions.
#pragma once

#include <memory>
#include <string>

#include "appliance/api/answer.h"
#include "engine/tokenizer/chat_template.h"

namespace ostal::api {

struct ChatFormOptions {
    std::string prefix;               // the assistant's text that the answer continues; it is given back first
    bool log_probs = false;
};

// Holds the model weakly: it may be unloaded while an answer is written.
std::shared_ptr<ChoiceForm> chat_form(ChatFormOptions options, std::size_t choices);

}  // namespace ostal::api
