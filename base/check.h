// CHECK: an always-on assertion for our own bugs, never for input.
//
// A failed check prints the file, line, expression and the compared values to stderr and aborts. Input,
// disk, network and operators cause Errors (result.h), not failed checks.
#pragma once

#include <sstream>
#include <string>

namespace ostal::detail {

[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               const std::string& values);

template <typename A, typename B>
[[noreturn]] void check_op_failed(const char* file, int line, const char* expression, const A& a,
                                  const B& b) {
    std::ostringstream out;
    out << a << " vs " << b;
    check_failed(file, line, expression, out.str());
}

}  // namespace ostal::detail

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            ::ostal::detail::check_failed(__FILE__, __LINE__, #condition, {});       \
        }                                                                            \
    } while (false)

#define OSTAL_CHECK_OP(a, op, b)                                                             \
    do {                                                                                     \
        const auto& ostal_a = (a);                                                           \
        const auto& ostal_b = (b);                                                           \
        if (!(ostal_a op ostal_b)) {                                                         \
            ::ostal::detail::check_op_failed(__FILE__, __LINE__, #a " " #op " " #b, ostal_a, \
                                             ostal_b);                                       \
        }                                                                                    \
    } while (false)

#define CHECK_EQ(a, b) OSTAL_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) OSTAL_CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) OSTAL_CHECK_OP(a, <, b)
#define CHECK_LE(a, b) OSTAL_CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) OSTAL_CHECK_OP(a, >, b)
#define CHECK_GE(a, b) OSTAL_CHECK_OP(a, >=, b)

#define CHECK_UNREACHABLE(what) ::ostal::detail::check_failed(__FILE__, __LINE__, "unreachable", what)
