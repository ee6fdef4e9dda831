// POST /v1/chat/completions: the request.
#pragma once

#include <optional>
#include <string_view>

#include "appliance/api/generation_fields.h"
#include "engine/tokenizer/chat_template.h"

namespace ostal::api {

struct ChatCompletionRequest : GenerationFields {
    engine::ChatRequest chat;
    bool log_probs = false;                    // with top_logprobs: GenerationFields::top_log_probs
    std::optional<std::int32_t> top_logprobs;  // 0 to 20
    bool safe_prompt = false;
    bool tools_allowed = true;                 // false: tool_choice "none"
    bool parallel_tool_calls = true;
};

// 400 (kInvalidArgument) for malformed JSON, 422 (kUnprocessable) for a field with a refused value, 400
// (kUnsupported) for what this version cannot honour: nothing that would change the answer is dropped silently.
// With `strict`, unknown fields are kUnprocessable.
Step<ChatCompletionRequest> parse_chat_completion(std::string_view body, bool strict);

}  // namespace ostal::api
