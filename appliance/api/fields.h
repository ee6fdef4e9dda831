// The fields of JSON request bodies, as tables: what reads each field, which values are off, what is let through.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace ostal::api {

// A refused request: the Error and the path of the field that it is about, "" for the whole.
struct FieldError {
    Error error;
    std::string param;
};
template <typename T>
using Step = tl::expected<T, FieldError>;

// "param: message" as an error of the field.
tl::unexpected<FieldError> refuse_field(Code code, std::string param, const std::string& message);
tl::unexpected<FieldError> refuse(Error error, std::string param = {});

// One field: reads a value that is not null into the request. Its error says what is wrong with the value, without
// the field's name.
template <typename Request>
struct Field {
    std::string_view name;
    std::function<Status(const json::Value&, Request&)> read;
};

// A field that would change the answer and that this version does not compute: taken only with the value that
// means "off", else refused as kUnsupported.
struct OffField {
    std::string_view name;
    bool (*is_off)(const json::Value&);
};
bool is_zero(const json::Value& value);
bool is_false(const json::Value& value);
bool is_empty(const json::Value& value);         // [] or {}
bool is_none_or_auto(const json::Value& value);  // "none" or "auto"
bool is_never(const json::Value& value);         // no value is off

// What the tables of one endpoint make of a body.
template <typename Request>
struct Schema {
    std::vector<Field<Request>> fields;
    std::vector<OffField> off;
    std::vector<std::string_view> harmless;  // accepted, without effect on the answer, or read elsewhere
};

// Values of one type. kUnprocessable says what was expected.
Status read_bool(const json::Value& value, bool& out);
Status read_text(const json::Value& value, std::string& out);
Status read_number(const json::Value& value, double low, double high, double& out);
Status read_integer(const json::Value& value, std::int64_t low, std::int64_t high, std::int32_t& out);

// A strictly parsed object. 400 for what is not JSON or no object.
Step<json::Value> parse_body(std::string_view body);
// A field that no table has: refused when it is `chat_template*` (templates come from the signed model) or in strict
// mode, else noted in `unknown`, the first few.
Step<void> take_unknown(const std::string& name, bool strict, std::vector<std::string>& unknown);

// Reads each member of the object by the schema; null is as absent.
template <typename Request>
Step<void> read_fields(const json::Object& body, const Schema<Request>& schema, bool strict, Request& request) {
    for (const auto& [name, value] : body) {
        const auto named = [&name = name](const auto& row) { return row.name == name; };
        if (const auto field = std::find_if(schema.fields.begin(), schema.fields.end(), named);
            field != schema.fields.end()) {
            if (value.is_null()) continue;
            if (const Status read = field->read(value, request); !read) {
                return refuse_field(read.error().code(), name, read.error().message());
            }
        } else if (const auto off = std::find_if(schema.off.begin(), schema.off.end(), named);
                   off != schema.off.end()) {
            if (!value.is_null() && !off->is_off(value)) {
                return refuse_field(Code::kUnsupported, name, "this version of the appliance does not support it");
            }
        } else if (std::find(schema.harmless.begin(), schema.harmless.end(), name) == schema.harmless.end()) {
            if (auto taken = take_unknown(name, strict, request.unknown_fields); !taken) return taken;
        }
    }
    return {};
}

}  // namespace ostal::api
