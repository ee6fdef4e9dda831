#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace ostal {

std::string_view code_name(Code code) {
    switch (code) {
        case Code::kInvalidArgument: return "invalid_argument";
        case Code::kUnprocessable: return "unprocessable";
        case Code::kContextLengthExceeded: return "context_length_exceeded";
        case Code::kTooLarge: return "too_large";
        case Code::kUnsupported: return "unsupported";
        case Code::kUsage: return "usage";
        case Code::kUnauthenticated: return "unauthenticated";
        case Code::kPermissionDenied: return "permission_denied";
        case Code::kNotFound: return "not_found";
        case Code::kConflict: return "conflict";
        case Code::kUnavailable: return "unavailable";
        case Code::kResourceExhausted: return "resource_exhausted";
        case Code::kDeadlineExceeded: return "deadline_exceeded";
        case Code::kNoSpace: return "no_space";
        case Code::kIntegrity: return "integrity";
        case Code::kIo: return "io";
        case Code::kCancelled: return "cancelled";
        case Code::kInternal: return "internal";
    }
    return "unknown";
}

Code code_from_name(std::string_view name) {
    for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
        if (code_name(static_cast<Code>(i)) == name) return static_cast<Code>(i);
    }
    return Code::kInternal;
}

std::string Error::to_string() const {
    std::string text = message_;
    if (!context_.empty()) {
        text += " (";
        for (std::size_t i = context_.size(); i-- > 0;) {
            text += context_[i];
            if (i > 0) text += ", ";
        }
        text += ")";
    }
    return text;
}

Error errno_error(int error_number, std::string_view what) {
    Code code = Code::kIo;
    if (error_number == ENOSPC || error_number == EDQUOT) code = Code::kNoSpace;
    if (error_number == ENOENT) code = Code::kNotFound;
    std::string message(what);
    message += ": ";
    // strerror_r (GNU form) is thread-safe and returns the text to use.
    char buffer[128];
    message += ::strerror_r(error_number, buffer, sizeof buffer);
    return Error(code, std::move(message));
}

}  // namespace ostal
