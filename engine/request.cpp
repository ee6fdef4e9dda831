#include "engine/request.h"

#include "base/check.h"

namespace ostal::engine {

std::string_view finish_reason_name(FinishReason reason) {
    switch (reason) {
        case FinishReason::kStop: return "stop";
        case FinishReason::kLength: return "length";
        case FinishReason::kCancelled: return "cancelled";
        case FinishReason::kError: return "error";
    }
    CHECK_UNREACHABLE("a finish reason of another value");
}

}  // namespace ostal::engine
