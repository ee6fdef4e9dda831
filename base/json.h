// JSON: the one place for it. Strict decoding into an ordered value, and four encodings.
//
// Decoding refuses duplicate keys, invalid UTF-8, lone surrogates, depth above the limit (64), trailing
// bytes, and integers outside int64/uint64 (numbers with a fraction or exponent become doubles).
// The lexer is Boost.JSON's, hidden in json.cpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace ostal::json {

class Value;
using Array = std::vector<Value>;

// An object keeps the order of its members. Lookup is linear: use it for messages, not for vocabularies.
class Object {
public:
    using Member = std::pair<std::string, Value>;
    Object() = default;
    Object(std::initializer_list<Member> members);

    const Value* find(std::string_view key) const;
    Value* find(std::string_view key);
    bool contains(std::string_view key) const { return find(key) != nullptr; }
    // Replaces the member or appends it.
    void set(std::string key, Value value);
    // Appends without looking for a duplicate.
    void append(std::string key, Value value);
    bool erase(std::string_view key);
    std::size_t size() const;
    bool empty() const { return size() == 0; }
    std::vector<Member>::const_iterator begin() const;
    std::vector<Member>::const_iterator end() const;

private:
    std::vector<Member> members_;
};

class Value {
public:
    Value() : data_(nullptr) {}
    Value(std::nullptr_t) : data_(nullptr) {}
    Value(bool value) : data_(value) {}
    Value(std::int64_t value) : data_(value) {}
    Value(int value) : data_(static_cast<std::int64_t>(value)) {}
    // Values up to the largest int64 are kept as int64: one form for one number.
    Value(std::uint64_t value);
    Value(double value) : data_(value) {}
    Value(std::string value) : data_(std::move(value)) {}
    Value(std::string_view value) : data_(std::string(value)) {}
    Value(const char* value) : data_(std::string(value)) {}
    Value(Array value) : data_(std::move(value)) {}
    Value(Object value) : data_(std::move(value)) {}

    bool is_null() const { return std::holds_alternative<std::nullptr_t>(data_); }
    bool is_bool() const { return std::holds_alternative<bool>(data_); }
    // int64 or uint64
    bool is_integer() const;
    bool is_double() const { return std::holds_alternative<double>(data_); }
    bool is_number() const { return is_integer() || is_double(); }
    bool is_string() const { return std::holds_alternative<std::string>(data_); }
    bool is_array() const { return std::holds_alternative<Array>(data_); }
    bool is_object() const { return std::holds_alternative<Object>(data_); }
    std::string_view type_name() const;  // "null" "boolean" "integer" "number" "string" "array" "object"

    // CHECK that the type is right: ask first.
    bool as_bool() const;
    const std::string& as_string() const;
    const Array& as_array() const;
    Array& as_array();
    const Object& as_object() const;
    Object& as_object();
    double as_double() const;  // any number
    // kInvalidArgument when it is no integer or does not fit.
    Result<std::int64_t> to_int64() const;
    Result<std::uint64_t> to_uint64() const;

    // Member of an object, or nullptr (also when this is no object).
    const Value* find(std::string_view key) const;

    friend bool operator==(const Value& a, const Value& b);

private:
    friend class Object;
    std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> data_;
};

struct Limits {
    std::size_t max_depth = 64;
    std::size_t max_bytes = SIZE_MAX;
    bool integers_only = false;  // TUF metadata: a number with fraction or exponent is refused
};

// kInvalidArgument with the byte offset, kTooLarge over max_bytes.
Result<Value> parse(std::string_view text, const Limits& limits = {});

// Compact: no spaces; doubles in their shortest form that reads back exactly (std::to_chars).
std::string to_string(const Value& value);
// Two spaces of indent, for people and files.
std::string to_pretty_string(const Value& value);
// As Python's json.dumps(..., ensure_ascii=False): ", " and ": ", floats as repr() writes them.
std::string to_python_string(const Value& value);
// RFC 8785 (JCS): members sorted by UTF-16 code units, minimal escapes. Integers with |n| < 2^53 only: CHECK.
std::string to_jcs(const Value& value);
// OLPC canonical JSON as securesystemslib writes it: members sorted by code points, only '"' and '\' escaped,
// integers only (a double is CHECKed: parse with integers_only).
std::string to_olpc(const Value& value);

// Overwrites every string inside in a way that the compiler keeps: for messages that carried secrets.
void wipe(Value& value);

// A JSON string literal with quotes.
std::string quote(std::string_view text);

// Typed member access; errors name the path, e.g. "signed.version: expected an integer, found a string".
Result<const Object*> object_at(const Value& value, std::string_view path);
Result<std::string> string_member(const Object& object, std::string_view key);
Result<std::int64_t> int_member(const Object& object, std::string_view key);
Result<const Array*> array_member(const Object& object, std::string_view key);
Result<const Object*> object_member(const Object& object, std::string_view key);

}  // namespace ostal::json
