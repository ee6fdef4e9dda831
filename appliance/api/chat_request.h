// POST /v1/chat/completions: the request's fields beside the conversation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/request.h"
#include "engine/tokenizer/chat_template.h"

namespace ostal::api {

struct ChatCompletionRequest {
    std::string model;                      // "" when none was named
    engine::ChatRequest chat;
    std::optional<double> temperature;      // [0, 2]
    double top_p = 1.0;                     // (0, 1]
    std::int32_t top_k = 0;
    std::optional<std::int32_t> max_tokens; // >= 1
    std::optional<std::uint64_t> seed;
    std::vector<std::string> stop;          // at most 16
    bool stream = false;
    std::optional<bool> include_usage;      // stream_options.include_usage
    std::vector<std::string> unknown_fields;
};

// A problem of one field: the Error and the field's path.
struct FieldError {
    Error error;
    std::string param;
};

// 400 (kInvalidArgument) for malformed JSON, 422 (kUnprocessable) for a field with a refused value, 400
// (kUnsupported) for what this version cannot honour: nothing that would change the answer is dropped silently.
// With `strict`, unknown fields are kUnprocessable.
tl::expected<ChatCompletionRequest, FieldError> parse_chat_completion(std::string_view body, bool strict);

}  // namespace ostal::api
