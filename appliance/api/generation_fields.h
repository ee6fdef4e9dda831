// The request fields that every text endpoint has: model, sampling, length, stops, choices, stream.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/api/fields.h"
#include "engine/request.h"

namespace ostal::api {

struct GenerationFields {
    std::string model;                       // "" when none was named
    engine::SamplingParams sampling;         // without temperature, seed and choice
    std::optional<double> temperature;       // [0, 2]
    std::optional<std::uint64_t> seed;       // seed or random_seed
    std::optional<std::int32_t> max_tokens;  // >= 1; max_tokens or max_completion_tokens
    std::int32_t min_tokens = 0;
    std::vector<std::string> stop;           // at most 16, none empty
    std::int32_t n = 1;                      // choices of one prompt, 1 to 16
    bool stream = false;
    std::optional<bool> include_usage;       // stream_options.include_usage
    std::optional<std::int32_t> top_log_probs;
    std::vector<std::string> unknown_fields;
};

const std::vector<Field<GenerationFields>>& generation_fields();
// Fields that no endpoint computes and fields that change no answer.
const std::vector<std::string_view>& harmless_fields();

// A schema that begins with the fields above.
template <typename Request>
Schema<Request> generation_schema(std::vector<Field<Request>> own) {
    Schema<Request> schema;
    for (const Field<GenerationFields>& field : generation_fields()) schema.fields.push_back({field.name, field.read});
    for (Field<Request>& field : own) schema.fields.push_back(std::move(field));
    schema.harmless = harmless_fields();
    return schema;
}

// What is wrong between fields: min_tokens above max_tokens.
Step<void> check_generation_fields(const GenerationFields& request);

}  // namespace ostal::api
