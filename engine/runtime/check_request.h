// What submit() refuses.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "engine/request.h"

namespace ostal::engine {

struct RequestLimits {
    std::int32_t vocab_size = 0;      // V of the model: ids of prompts
    std::int32_t drawable = 0;        // ids below can be drawn: V without padding
    std::int32_t context_length = 0;  // prompt + generated
};

// kInvalidArgument, the message beginning with the field's name as in request.h; kContextLengthExceeded.
Status check_request(const GenerationRequest& request, const RequestLimits& limits);

}  // namespace ostal::engine
