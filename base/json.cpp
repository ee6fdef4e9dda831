#include "base/json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/src.hpp>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "base/bytes.h"
#include "base/check.h"

namespace ostal::json {

// ---- Object and Value ----

Object::Object(std::initializer_list<Member> members) : members_(members) {}

const Value* Object::find(std::string_view key) const {
    for (const Member& member : members_) {
        if (member.first == key) return &member.second;
    }
    return nullptr;
}
Value* Object::find(std::string_view key) {
    return const_cast<Value*>(static_cast<const Object*>(this)->find(key));
}
void Object::set(std::string key, Value value) {
    if (Value* found = find(key)) {
        *found = std::move(value);
        return;
    }
    append(std::move(key), std::move(value));
}
void Object::append(std::string key, Value value) { members_.emplace_back(std::move(key), std::move(value)); }
bool Object::erase(std::string_view key) {
    for (auto it = members_.begin(); it != members_.end(); ++it) {
        if (it->first == key) {
            members_.erase(it);
            return true;
        }
    }
    return false;
}
std::size_t Object::size() const { return members_.size(); }
std::vector<Object::Member>::const_iterator Object::begin() const { return members_.begin(); }
std::vector<Object::Member>::const_iterator Object::end() const { return members_.end(); }

Value::Value(std::uint64_t value) {
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        data_ = static_cast<std::int64_t>(value);
    } else {
        data_ = value;
    }
}

bool Value::is_integer() const {
    return std::holds_alternative<std::int64_t>(data_) || std::holds_alternative<std::uint64_t>(data_);
}

std::string_view Value::type_name() const {
    if (is_null()) return "null";
    if (is_bool()) return "boolean";
    if (is_integer()) return "integer";
    if (is_double()) return "number";
    if (is_string()) return "string";
    if (is_array()) return "array";
    return "object";
}

bool Value::as_bool() const {
    CHECK(is_bool());
    return std::get<bool>(data_);
}
const std::string& Value::as_string() const {
    CHECK(is_string());
    return std::get<std::string>(data_);
}
const Array& Value::as_array() const {
    CHECK(is_array());
    return std::get<Array>(data_);
}
Array& Value::as_array() {
    CHECK(is_array());
    return std::get<Array>(data_);
}
const Object& Value::as_object() const {
    CHECK(is_object());
    return std::get<Object>(data_);
}
Object& Value::as_object() {
    CHECK(is_object());
    return std::get<Object>(data_);
}
double Value::as_double() const {
    if (const auto* number = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*number);
    if (const auto* number = std::get_if<std::uint64_t>(&data_)) return static_cast<double>(*number);
    CHECK(is_double());
    return std::get<double>(data_);
}
Result<std::int64_t> Value::to_int64() const {
    if (const auto* number = std::get_if<std::int64_t>(&data_)) return *number;
    if (is_integer()) return fail(Code::kInvalidArgument, "the integer is above 9223372036854775807");
    return fail(Code::kInvalidArgument, "expected an integer, found a value of type " + std::string(type_name()));
}
Result<std::uint64_t> Value::to_uint64() const {
    if (const auto* number = std::get_if<std::uint64_t>(&data_)) return *number;
    OSTAL_TRY(const std::int64_t number, to_int64());
    if (number < 0) return fail(Code::kInvalidArgument, "expected a non-negative integer");
    return static_cast<std::uint64_t>(number);
}
const Value* Value::find(std::string_view key) const {
    const auto* object = std::get_if<Object>(&data_);
    return object == nullptr ? nullptr : object->find(key);
}

bool operator==(const Value& a, const Value& b) {
    if (a.is_object() && b.is_object()) {
        const Object& x = a.as_object();
        const Object& y = b.as_object();
        if (x.size() != y.size()) return false;
        for (const auto& [key, value] : x) {
            const Value* other = y.find(key);
            if (other == nullptr || !(value == *other)) return false;
        }
        return true;
    }
    if (a.data_.index() != b.data_.index()) return false;
    if (a.is_array()) return a.as_array() == b.as_array();
    if (a.is_null()) return true;
    if (a.is_bool()) return a.as_bool() == b.as_bool();
    if (a.is_string()) return a.as_string() == b.as_string();
    if (const auto* x = std::get_if<std::int64_t>(&a.data_)) return *x == std::get<std::int64_t>(b.data_);
    if (const auto* x = std::get_if<std::uint64_t>(&a.data_)) return *x == std::get<std::uint64_t>(b.data_);
    return a.as_double() == b.as_double();
}

// ---- decoding ----

namespace {

// The handler Boost.JSON's basic_parser calls; it builds Values bottom-up on a stack of open containers.
struct Handler {
    static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
    static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
    static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
    static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

    struct Open {
        Value container;
        std::string key;  // of the member being read
        std::unordered_set<std::string> keys;
    };
    std::vector<Open> open;
    Value root;
    std::string text;    // of the string or key being read
    std::string number;  // of the number being read
    std::string problem;
    bool integers_only = false;

    using error_code = boost::json::error_code;
    bool refuse(error_code& ec, std::string why) {
        problem = std::move(why);
        ec = boost::json::error::extra_data;
        return false;
    }
    bool add(Value value) {
        if (open.empty()) {
            root = std::move(value);
        } else if (open.back().container.is_array()) {
            open.back().container.as_array().push_back(std::move(value));
        } else {
            open.back().container.as_object().append(std::move(open.back().key), std::move(value));
        }
        return true;
    }
    bool begin(Value container) {
        open.push_back(Open{std::move(container), {}, {}});
        return true;
    }
    bool end() {
        Value done = std::move(open.back().container);
        open.pop_back();
        return add(std::move(done));
    }

    bool on_document_begin(error_code&) { return true; }
    bool on_document_end(error_code&) { return true; }
    bool on_array_begin(error_code&) { return begin(Array{}); }
    bool on_array_end(std::size_t, error_code&) { return end(); }
    bool on_object_begin(error_code&) { return begin(Object{}); }
    bool on_object_end(std::size_t, error_code&) { return end(); }
    bool on_string_part(boost::json::string_view part, std::size_t, error_code&) {
        text.append(part.data(), part.size());
        return true;
    }
    bool on_string(boost::json::string_view part, std::size_t, error_code&) {
        text.append(part.data(), part.size());
        return add(Value(std::exchange(text, {})));
    }
    bool on_key_part(boost::json::string_view part, std::size_t, error_code&) {
        text.append(part.data(), part.size());
        return true;
    }
    bool on_key(boost::json::string_view part, std::size_t, error_code& ec) {
        text.append(part.data(), part.size());
        if (!open.back().keys.insert(text).second) return refuse(ec, "the key " + quote(text) + " occurs twice");
        open.back().key = std::exchange(text, {});
        return true;
    }
    bool on_number_part(boost::json::string_view part, error_code&) {
        number.append(part.data(), part.size());
        return true;
    }
    bool on_int64(std::int64_t value, boost::json::string_view, error_code&) {
        number.clear();
        return add(Value(value));
    }
    bool on_uint64(std::uint64_t value, boost::json::string_view, error_code&) {
        number.clear();
        return add(Value(value));
    }
    bool on_double(double value, boost::json::string_view part, error_code& ec) {
        number.append(part.data(), part.size());
        const bool is_integer = number.find_first_of(".eE") == std::string::npos;
        if (is_integer) return refuse(ec, "the integer " + number.substr(0, 40) + " is out of range");
        if (integers_only) return refuse(ec, "the number " + number.substr(0, 40) + " is no integer");
        if (!std::isfinite(value)) return refuse(ec, "the number " + number.substr(0, 40) + " is out of range");
        // Read again with the correctly rounding algorithm; Boost.JSON 1.81's own is not exact.
        double exact = value;
        std::from_chars(number.data(), number.data() + number.size(), exact);
        number.clear();
        return add(Value(exact));
    }
    bool on_bool(bool value, error_code&) { return add(Value(value)); }
    bool on_null(error_code&) { return add(Value(nullptr)); }
    bool on_comment_part(boost::json::string_view, error_code&) { return true; }
    bool on_comment(boost::json::string_view, error_code&) { return true; }
};

}  // namespace

Result<Value> parse(std::string_view text, const Limits& limits) {
    if (text.size() > limits.max_bytes) {
        return fail(Code::kTooLarge, "JSON text of " + std::to_string(text.size()) + " bytes, at most " +
                                         std::to_string(limits.max_bytes) + " are read");
    }
    try {
        boost::json::parse_options options;
        options.max_depth = limits.max_depth;
        boost::json::basic_parser<Handler> parser(options);
        parser.handler().integers_only = limits.integers_only;
        boost::json::error_code ec;
        const std::size_t used = parser.write_some(false, text.data(), text.size(), ec);
        if (!ec && used < text.size()) ec = boost::json::error::extra_data;
        if (ec) {
            std::string why = parser.handler().problem.empty() ? ec.message() : parser.handler().problem;
            return fail(Code::kInvalidArgument, "invalid JSON near byte " + std::to_string(used) + ": " + why);
        }
        return std::move(parser.handler().root);
    } catch (const std::exception& e) {
        return fail(Code::kInternal, std::string("JSON parser: ") + e.what());
    }
}

// ---- encoding ----

namespace {

enum class Style { kCompact, kPretty, kPython, kJcs, kOlpc };

void write_string(std::string& out, std::string_view text, Style style) {
    static constexpr std::string_view kHex = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte >= 0x20 || style == Style::kOlpc) {
            // Python's json leaves DEL as it is; so do we.
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c == '\b') {
            out += "\\b";
        } else if (c == '\f') {
            out += "\\f";
        } else {
            out += "\\u00";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    out += '"';
}

void write_double(std::string& out, double value, Style style) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    char buffer[64];
    if (style != Style::kPython) {
        // The shortest form of 1.2e20 is an integer's, one beyond those that parse() takes.
        constexpr double kBeyondIntegers = 9223372036854775808.0;  // 2^63
        const auto end = std::fabs(value) < kBeyondIntegers
                             ? std::to_chars(buffer, buffer + sizeof buffer, value).ptr
                             : std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
        out.append(buffer, end);
        return;
    }
    // repr(): shortest digits; positional for 1e-4 <= |x| < 1e16, else scientific with a two-digit exponent.
    const double magnitude = std::fabs(value);
    const bool positional = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                   positional ? std::chars_format::fixed : std::chars_format::scientific)
                         .ptr;
    std::string text(buffer, end);
    if (positional && text.find('.') == std::string::npos) text += ".0";
    out += text;
}

// RFC 8785 section 3.2.3: by UTF-16 code units. Differs from byte order only between U+E000..U+FFFF and
// the supplementary planes (surrogates sort lower).
bool utf16_less(std::string_view a, std::string_view b) {
    const auto weight = [](std::uint8_t byte) -> int {
        // Lead bytes EE and EF (U+E000..U+FFFF) sort above F0..F4 (supplementary planes).
        if (byte == 0xEE || byte == 0xEF) return byte + 0x100;
        return byte;
    };
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
        const auto x = static_cast<std::uint8_t>(a[i]);
        const auto y = static_cast<std::uint8_t>(b[i]);
        if (x != y) return weight(x) < weight(y);
    }
    return a.size() < b.size();
}

void write(std::string& out, const Value& value, Style style, int indent);

void newline(std::string& out, Style style, int indent) {
    if (style != Style::kPretty) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent) * 2, ' ');
}

void write_object(std::string& out, const Object& object, Style style, int indent) {
    std::vector<const Object::Member*> members;
    members.reserve(object.size());
    for (const Object::Member& member : object) members.push_back(&member);
    if (style == Style::kJcs) {
        std::sort(members.begin(), members.end(),
                  [](const auto* a, const auto* b) { return utf16_less(a->first, b->first); });
    } else if (style == Style::kOlpc) {
        std::sort(members.begin(), members.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    out += '{';
    bool first = true;
    for (const Object::Member* member : members) {
        if (!first) out += style == Style::kPython ? ", " : ",";
        first = false;
        newline(out, style, indent + 1);
        write_string(out, member->first, style);
        out += style == Style::kPython || style == Style::kPretty ? ": " : ":";
        write(out, member->second, style, indent + 1);
    }
    if (!members.empty()) newline(out, style, indent);
    out += '}';
}

void write_array(std::string& out, const Array& array, Style style, int indent) {
    out += '[';
    bool first = true;
    for (const Value& element : array) {
        if (!first) out += style == Style::kPython ? ", " : ",";
        first = false;
        newline(out, style, indent + 1);
        write(out, element, style, indent + 1);
    }
    if (!array.empty()) newline(out, style, indent);
    out += ']';
}

void write(std::string& out, const Value& value, Style style, int indent) {
    if (value.is_null()) {
        out += "null";
    } else if (value.is_bool()) {
        out += value.as_bool() ? "true" : "false";
    } else if (value.is_string()) {
        write_string(out, value.as_string(), style);
    } else if (value.is_array()) {
        write_array(out, value.as_array(), style, indent);
    } else if (value.is_object()) {
        write_object(out, value.as_object(), style, indent);
    } else if (value.is_double()) {
        CHECK(style != Style::kJcs && style != Style::kOlpc);
        write_double(out, value.as_double(), style);
    } else if (const auto number = value.to_int64()) {
        if (style == Style::kJcs) CHECK(*number < (1LL << 53) && *number > -(1LL << 53));
        out += std::to_string(*number);
    } else {
        CHECK(style != Style::kJcs);
        out += std::to_string(*value.to_uint64());
    }
}

std::string encode(const Value& value, Style style) {
    std::string out;
    write(out, value, style, 0);
    return out;
}

}  // namespace

std::string to_string(const Value& value) { return encode(value, Style::kCompact); }
std::string to_pretty_string(const Value& value) { return encode(value, Style::kPretty); }
std::string to_python_string(const Value& value) { return encode(value, Style::kPython); }
std::string to_jcs(const Value& value) { return encode(value, Style::kJcs); }
std::string to_olpc(const Value& value) { return encode(value, Style::kOlpc); }

void wipe(Value& value) {
    if (value.is_array()) {
        for (Value& item : value.as_array()) wipe(item);
    } else if (value.is_object()) {
        for (const auto& [key, member] : value.as_object()) wipe(const_cast<Value&>(member));
    } else if (value.is_string()) {
        auto& text = const_cast<std::string&>(value.as_string());
        ::explicit_bzero(text.data(), text.size());
    }
}

std::string quote(std::string_view text) {
    std::string out;
    write_string(out, text, Style::kCompact);
    return out;
}

// ---- typed access ----

namespace {

Result<const Value*> member_of(const Object& object, std::string_view key) {
    const Value* value = object.find(key);
    if (value == nullptr) return fail(Code::kInvalidArgument, "the member " + quote(key) + " is missing");
    return value;
}

tl::unexpected<Error> wrong_type(std::string_view key, std::string_view expected, const Value& found) {
    return fail(Code::kInvalidArgument, std::string(key) + ": expected " + std::string(expected) +
                                            ", found a value of type " + std::string(found.type_name()));
}

}  // namespace

Result<const Object*> object_at(const Value& value, std::string_view path) {
    if (!value.is_object()) return wrong_type(path, "an object", value);
    return &value.as_object();
}
Result<std::string> string_member(const Object& object, std::string_view key) {
    OSTAL_TRY(const Value* value, member_of(object, key));
    if (!value->is_string()) return wrong_type(key, "a string", *value);
    return value->as_string();
}
Result<std::int64_t> int_member(const Object& object, std::string_view key) {
    OSTAL_TRY(const Value* value, member_of(object, key));
    auto number = value->to_int64();
    if (!number) return fail(std::move(number).error().with("at " + std::string(key)));
    return number;
}
Result<const Array*> array_member(const Object& object, std::string_view key) {
    OSTAL_TRY(const Value* value, member_of(object, key));
    if (!value->is_array()) return wrong_type(key, "an array", *value);
    return &value->as_array();
}
Result<const Object*> object_member(const Object& object, std::string_view key) {
    OSTAL_TRY(const Value* value, member_of(object, key));
    if (!value->is_object()) return wrong_type(key, "an object", *value);
    return &value->as_object();
}

}  // namespace ostal::json
