// Whether a JSON value is a JSON Schema.
#pragma once

#include "base/json.h"
#include "base/result.h"

namespace ostal::engine {

// The rules of the draft-07 meta-schema (json-schema.org/draft-07/schema), by which mistral-common judges the
// parameters of tools; `pattern` is checked to be text only. kInvalidArgument names the place
// ("properties.city.type: …").
Status check_json_schema(const json::Value& schema);

}  // namespace ostal::engine
