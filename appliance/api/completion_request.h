// POST /v1/completions and POST /v1/fim/completions: the requests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/api/generation_fields.h"
#include "appliance/api/prompt_input.h"

namespace ostal::api {

struct CompletionRequest : GenerationFields {
    std::vector<PromptInput> prompts;     // at most 64
    bool echo = false;
    std::optional<std::string> suffix;    // the text behind the completion: fill in the middle
    std::optional<std::int32_t> best_of;  // n alone is taken
};
struct FimRequest : GenerationFields {
    std::string prompt;
    std::string suffix;
};

// Errors as parse_chat_completion's.
Step<CompletionRequest> parse_completion(std::string_view body, bool strict);
Step<FimRequest> parse_fim(std::string_view body, bool strict);

}  // namespace ostal::api
