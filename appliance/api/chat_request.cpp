#include "appliance/api/chat_request.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace ostal::api {
namespace {

using Out = tl::expected<ChatCompletionRequest, FieldError>;
using json::Value;

tl::unexpected<FieldError> refuse(Code code, std::string param, std::string message) {
    Error error(code, param.empty() ? std::move(message) : param + ": " + message);
    return tl::unexpected<FieldError>(FieldError{std::move(error), std::move(param)});
}

// Reads one field into the request: what is wrong with it, or nothing.
using Problem = std::optional<std::string>;
struct Field {
    const char* name;
    std::function<Problem(const Value&, ChatCompletionRequest&)> read;
};

Problem read_number(const Value& value, double low, double high, bool low_open, double& out) {
    if (!value.is_number()) return "expected a number, found a value of type " + std::string(value.type_name());
    const double number = value.as_double();
    if (!(number <= high) || !(low_open ? number > low : number >= low)) {
        char text[96];
        std::snprintf(text, sizeof text, "expected a number %s %g and at most %g", low_open ? "above" : "of at least", low, high);
        return std::string(text);
    }
    out = number;
    return std::nullopt;
}

Problem read_integer(const Value& value, std::int64_t low, std::int64_t high, std::int64_t& out) {
    const auto number = value.to_int64();
    if (!number || *number < low || *number > high) {
        return "expected an integer from " + std::to_string(low) + " to " + std::to_string(high);
    }
    out = *number;
    return std::nullopt;
}

Problem read_stop(const Value& value, ChatCompletionRequest& request) {
    constexpr std::size_t kMaxStops = 16;
    constexpr std::size_t kMaxStopBytes = 1024;
    std::vector<std::string> stops;
    if (value.is_string()) {
        stops.push_back(value.as_string());
    } else if (value.is_array()) {
        for (const Value& item : value.as_array()) {
            if (!item.is_string()) return "expected a string or a list of strings";
            stops.push_back(item.as_string());
        }
    } else {
        return "expected a string or a list of strings";
    }
    if (stops.size() > kMaxStops) return "at most 16 stop strings are taken";
    for (const std::string& stop : stops) {
        if (stop.empty()) return "a stop string is empty";
        if (stop.size() > kMaxStopBytes) return "a stop string is longer than 1024 bytes";
    }
    request.stop = std::move(stops);
    return std::nullopt;
}

Problem read_seed(const Value& value, ChatCompletionRequest& request) {
    if (!value.is_integer()) return "expected an integer";
    if (const auto number = value.to_int64()) {
        request.seed = static_cast<std::uint64_t>(*number);
    } else {
        request.seed = *value.to_uint64();
    }
    return std::nullopt;
}

Problem read_max_tokens(const Value& value, ChatCompletionRequest& request) {
    std::int64_t number = 0;
    if (auto problem = read_integer(value, 1, std::numeric_limits<std::int32_t>::max(), number)) return problem;
    request.max_tokens = static_cast<std::int32_t>(number);
    return std::nullopt;
}

Problem read_stream_options(const Value& value, ChatCompletionRequest& request) {
    if (!value.is_object()) return "expected an object";
    const Value* usage = value.find("include_usage");
    if (usage == nullptr || usage->is_null()) return std::nullopt;
    if (!usage->is_bool()) return "include_usage: expected true or false";
    request.include_usage = usage->as_bool();
    return std::nullopt;
}

const std::vector<Field>& fields() {
    static const std::vector<Field> table = {
        {"model",
         [](const Value& value, ChatCompletionRequest& request) -> Problem {
             if (!value.is_string()) return "expected a string";
             request.model = value.as_string();
             return std::nullopt;
         }},
        {"temperature",
         [](const Value& value, ChatCompletionRequest& request) -> Problem {
             double number = 0;
             if (auto problem = read_number(value, 0, 2, false, number)) return problem;
             request.temperature = number;
             return std::nullopt;
         }},
        {"top_p",
         [](const Value& value, ChatCompletionRequest& request) { return read_number(value, 0, 1, true, request.top_p); }},
        {"top_k",
         [](const Value& value, ChatCompletionRequest& request) -> Problem {
             std::int64_t number = 0;
             if (auto problem = read_integer(value, 0, 1'000'000, number)) return problem;
             request.top_k = static_cast<std::int32_t>(number);
             return std::nullopt;
         }},
        {"max_tokens", read_max_tokens},
        {"max_completion_tokens", read_max_tokens},
        {"seed", read_seed},
        {"random_seed", read_seed},
        {"stop", read_stop},
        {"stream",
         [](const Value& value, ChatCompletionRequest& request) -> Problem {
             if (!value.is_bool()) return "expected true or false";
             request.stream = value.as_bool();
             return std::nullopt;
         }},
        {"stream_options", read_stream_options},
    };
    return table;
}

// Fields that would change the answer and that this version does not compute: accepted only with the value that
// means "off".
struct Unsupported {
    const char* name;
    bool (*is_off)(const Value&);
};
bool is_zero(const Value& v) { return v.is_number() && v.as_double() == 0; }
bool is_false(const Value& v) { return v.is_bool() && !v.as_bool(); }
bool is_empty(const Value& v) {
    return (v.is_array() && v.as_array().empty()) || (v.is_object() && v.as_object().empty());
}
bool is_text_format(const Value& v) {
    const Value* type = v.find("type");
    return type != nullptr && type->is_string() && type->as_string() == "text";
}
bool is_one(const Value& v) { return v.is_number() && v.as_double() == 1; }
bool is_none(const Value& v) { return v.is_string() && v.as_string() == "none"; }
bool is_none_or_auto(const Value& v) { return v.is_string() && (v.as_string() == "none" || v.as_string() == "auto"); }
constexpr Unsupported kUnsupported[] = {
    {"n", is_one},
    {"presence_penalty", is_zero},
    {"frequency_penalty", is_zero},
    {"logit_bias", is_empty},
    {"logprobs", is_false},
    {"top_logprobs", is_zero},
    {"response_format", is_text_format},
    {"tools", is_empty},
    {"functions", is_empty},
    {"tool_choice", is_none_or_auto},
    {"function_call", is_none_or_auto},
    {"min_tokens", is_zero},
    {"guardrails", is_empty},
    {"safe_prompt", is_false},
    {"reasoning_effort", is_none},
    {"modalities", [](const Value& v) {
         return v.is_array() && v.as_array().size() == 1 && v.as_array()[0].is_string() && v.as_array()[0].as_string() == "text";
     }},
    {"audio", is_empty},
};

// Accepted without effect on the text of the answer.
constexpr std::string_view kHarmless[] = {
    "messages", "continue_final_message", "user", "metadata", "store", "service_tier", "prompt_cache_key",
    "safety_identifier", "parallel_tool_calls", "prediction", "prompt_mode", "verbosity"};

}  // namespace

Out parse_chat_completion(std::string_view body, bool strict) {
    auto value = json::parse(body);
    if (!value) return tl::unexpected<FieldError>(FieldError{std::move(value).error(), ""});
    if (!value->is_object()) return refuse(Code::kInvalidArgument, "", "the body is not a JSON object");
    ChatCompletionRequest request;
    for (const auto& [name, member] : value->as_object()) {
        const auto field = std::find_if(fields().begin(), fields().end(), [&](const Field& f) { return f.name == name; });
        if (field != fields().end()) {
            if (member.is_null()) continue;
            if (auto problem = field->read(member, request)) return refuse(Code::kUnprocessable, name, *problem);
            continue;
        }
        const auto* unsupported = std::find_if(std::begin(kUnsupported), std::end(kUnsupported),
                                               [&](const Unsupported& u) { return u.name == name; });
        if (unsupported != std::end(kUnsupported)) {
            if (!member.is_null() && !unsupported->is_off(member)) {
                return refuse(Code::kUnsupported, name, "this version of the appliance does not support it");
            }
            continue;
        }
        if (name.starts_with("chat_template")) {
            return refuse(Code::kUnsupported, name, "templates come from the signed model alone");
        }
        if (std::find(std::begin(kHarmless), std::end(kHarmless), name) == std::end(kHarmless)) {
            if (strict) return refuse(Code::kUnprocessable, name, "unknown field");
            request.unknown_fields.push_back(name);
        }
    }
    if (value->find("messages") == nullptr) return refuse(Code::kUnprocessable, "messages", "the field is required");
    auto chat = engine::parse_chat_request(*value);
    if (!chat) return tl::unexpected<FieldError>(FieldError{std::move(chat).error(), "messages"});
    if (chat->messages.empty()) {
        return refuse(Code::kInvalidArgument, "messages", "the conversation has no message");
    }
    request.chat = std::move(*chat);
    return request;
}

}  // namespace ostal::api
