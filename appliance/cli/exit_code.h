// Exit codes of every program: 0 ok, 1 failed, 2 usage, 3 denied, 4 not found, 5 conflict, 6 unavailable,
// 7 integrity.
#pragma once

#include "base/result.h"

namespace ostal {

inline int exit_code(Code code) {
    switch (code) {
        case Code::kUsage: return 2;
        case Code::kUnauthenticated:
        case Code::kPermissionDenied: return 3;
        case Code::kNotFound: return 4;
        case Code::kConflict: return 5;
        case Code::kUnavailable:
        case Code::kResourceExhausted:
        case Code::kDeadlineExceeded:
        case Code::kNoSpace: return 6;
        case Code::kIntegrity: return 7;
        case Code::kInvalidArgument:
        case Code::kUnprocessable:
        case Code::kContextLengthExceeded:
        case Code::kTooLarge:
        case Code::kUnsupported:
        case Code::kIo:
        case Code::kCancelled:
        case Code::kInternal: return 1;
    }
    return 1;
}

}  // namespace ostal
