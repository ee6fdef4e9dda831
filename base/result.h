// Result<T>: a value or an Error, for everything that input, disk, network, peers or operators can cause.
//
// Nothing throws across a module's header. Third-party exceptions are caught at the seam and turned into
// an Error. An Error's message is for operators: it says what, why and what to do, and never holds
// secrets, prompts or key material.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace ostal {

// The closed set of failure kinds. HTTP status and exit codes are mapped from it once
// (appliance/api/errors.cpp, appliance/cli/exit_code.h).
enum class Code {
    kInvalidArgument,       // malformed or out-of-range input                    400, exit 1
    kUnprocessable,         // a well-formed field with a refused value           422, exit 1
    kContextLengthExceeded, // prompt + max_tokens do not fit the model's context 400, exit 1
    kTooLarge,              // over a stated size limit                           413, exit 1
    kUnsupported,           // valid, but not something this build reads          400, exit 1
    kUsage,                 // wrong command-line words                           exit 2
    kUnauthenticated,       // no or wrong credential                             401, exit 3
    kPermissionDenied,      // known subject, not allowed                         403, exit 3
    kNotFound,              //                                                    404, exit 4
    kConflict,              // state forbids it: in use, duplicate, wrong state   409, exit 5
    kUnavailable,           // sealed, loading, overloaded, shutting down         503, exit 6
    kResourceExhausted,     // quota or rate                                      429, exit 6
    kDeadlineExceeded,      //                                                    503, exit 6
    kNoSpace,               // disk full                                          503, exit 6
    kIntegrity,             // signature, digest, tag or chain does not hold      503, exit 7
    kIo,                    // an operating-system call failed                    500, exit 1
    kCancelled,             // the caller went away                               499, exit 1
    kInternal,              // a third-party fault caught at a seam               500, exit 1
};

std::string_view code_name(Code code);
// The inverse; kInternal for a word that is no code's name.
Code code_from_name(std::string_view name);

class [[nodiscard]] Error {
public:
    Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

    Code code() const { return code_; }
    // The innermost message, without context.
    const std::string& message() const { return message_; }
    // Outermost first: "while importing m/1", "while reading config.json".
    const std::vector<std::string>& context() const { return context_; }
    // A stable lower_snake_case word for programs where Code is too coarse ("expired", "unknown_key"); the
    // header of the function that fails lists them. Empty when Code says it all.
    const std::string& reason() const { return reason_; }

    // Adds a "while ..." frame on the way up and returns the error itself.
    Error&& with(std::string frame) && {
        context_.insert(context_.begin(), std::move(frame));
        return std::move(*this);
    }
    Error&& because(std::string reason) && {
        reason_ = std::move(reason);
        return std::move(*this);
    }
    // "message (while inner, while outer)"
    std::string to_string() const;

private:
    Code code_;
    std::string message_;
    std::vector<std::string> context_;
    std::string reason_;
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(Code code, std::string message) {
    return tl::unexpected<Error>(Error(code, std::move(message)));
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// The Error of a failed operating-system call: kNoSpace for ENOSPC and EDQUOT, kNotFound for ENOENT,
// else kIo. `what` names the operation and its object.
Error errno_error(int error_number, std::string_view what);

}  // namespace ostal

#define OSTAL_CONCAT_INNER(a, b) a##b
#define OSTAL_CONCAT(a, b) OSTAL_CONCAT_INNER(a, b)

// OSTAL_TRY(const auto x, expression): x = the value, or returns the Error. Not in coroutines.
#define OSTAL_TRY(declaration, ...) \
    OSTAL_TRY_INNER(OSTAL_CONCAT(ostal_try_, __LINE__), declaration, __VA_ARGS__)
#define OSTAL_TRY_INNER(name, declaration, ...)               \
    auto name = (__VA_ARGS__);                                \
    if (!name) {                                              \
        return ::ostal::fail(std::move(name).error());        \
    }                                                         \
    declaration = std::move(*name)

// OSTAL_TRYV(expression): returns the Error of a Status (or of a Result whose value is not needed).
#define OSTAL_TRYV(...)                                                      \
    do {                                                                     \
        auto ostal_status = (__VA_ARGS__);                                   \
        if (!ostal_status) {                                                 \
            return ::ostal::fail(std::move(ostal_status).error());           \
        }                                                                    \
    } while (false)
