// POST /v1/embeddings: the request.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/api/embedding_encoding.h"
#include "appliance/api/fields.h"
#include "appliance/api/prompt_input.h"

namespace ostal::api {

struct EmbeddingRequest {
    std::string model;                       // "" when none was named
    std::vector<PromptInput> inputs;         // at most 2048
    std::optional<std::int32_t> dimensions;  // output_dimension or dimensions: the first so many, scaled to length 1
    EmbeddingType type = EmbeddingType::kFloat;
    bool base64 = false;
    std::vector<std::string> unknown_fields;
};

// Errors as parse_chat_completion's.
Step<EmbeddingRequest> parse_embedding(std::string_view body, bool strict);

}  // namespace ostal::api
