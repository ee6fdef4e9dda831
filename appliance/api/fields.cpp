#include "appliance/api/fields.h"

#include <cstdio>

#include "base/safe_text.h"

namespace ostal::api {
namespace {

using json::Value;

constexpr std::size_t kMaxNotedFields = 16;

}  // namespace

tl::unexpected<FieldError> refuse_field(Code code, std::string param, const std::string& message) {
    Error error(code, param + ": " + message);
    return refuse(std::move(error), std::move(param));
}

tl::unexpected<FieldError> refuse(Error error, std::string param) {
    return tl::unexpected<FieldError>(FieldError{std::move(error), std::move(param)});
}

bool is_zero(const Value& value) { return value.is_number() && value.as_double() == 0; }
bool is_false(const Value& value) { return value.is_bool() && !value.as_bool(); }
bool is_empty(const Value& value) {
    return (value.is_array() && value.as_array().empty()) || (value.is_object() && value.as_object().empty());
}
bool is_none_or_auto(const Value& value) {
    return value.is_string() && (value.as_string() == "none" || value.as_string() == "auto");
}
bool is_never(const Value&) { return false; }

Status read_bool(const Value& value, bool& out) {
    if (!value.is_bool()) return fail(Code::kUnprocessable, "expected true or false");
    out = value.as_bool();
    return {};
}

Status read_text(const Value& value, std::string& out) {
    if (!value.is_string()) return fail(Code::kUnprocessable, "expected a string");
    out = value.as_string();
    return {};
}

Status read_number(const Value& value, double low, double high, double& out) {
    if (!value.is_number()) {
        return fail(Code::kUnprocessable, "expected a number, found a value of type " + std::string(value.type_name()));
    }
    const double number = value.as_double();
    if (!(number >= low && number <= high)) {
        char text[96];
        std::snprintf(text, sizeof text, "expected a number of at least %g and at most %g", low, high);
        return fail(Code::kUnprocessable, text);
    }
    out = number;
    return {};
}

Status read_integer(const Value& value, std::int64_t low, std::int64_t high, std::int32_t& out) {
    const auto number = value.to_int64();
    if (!number || *number < low || *number > high) {
        return fail(Code::kUnprocessable,
                    "expected an integer from " + std::to_string(low) + " to " + std::to_string(high));
    }
    out = static_cast<std::int32_t>(*number);
    return {};
}

Step<Value> parse_body(std::string_view body) {
    auto value = json::parse(body);
    if (!value) return refuse(std::move(value).error());
    if (!value->is_object()) return refuse(Error(Code::kInvalidArgument, "the body is not a JSON object"));
    return std::move(*value);
}

Step<void> take_unknown(const std::string& name, bool strict, std::vector<std::string>& unknown) {
    if (name.starts_with("chat_template")) {
        return refuse_field(Code::kUnsupported, safe_text(name, 64), "templates come from the signed model alone");
    }
    if (strict) return refuse_field(Code::kUnprocessable, safe_text(name, 64), "unknown field");
    if (unknown.size() < kMaxNotedFields) unknown.push_back(safe_text(name, 64));
    return {};
}

}  // namespace ostal::api
