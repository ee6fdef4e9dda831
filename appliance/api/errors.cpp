#include "appliance/api/errors.h"

#include <algorithm>
#include <charconv>

namespace ostal::api {
namespace {

struct Row {
    int status;
    const char* type;
    const char* code;
    const char* fixed_message;  // nullptr: the Error's own message is meant for clients
};

Row row_of(Code code) {
    switch (code) {
        case Code::kInvalidArgument:
        case Code::kUsage: return {400, "invalid_request_error", "invalid_request", nullptr};
        case Code::kUnprocessable: return {422, "invalid_request_error", "invalid_value", nullptr};
        case Code::kContextLengthExceeded: return {400, "invalid_request_error", "context_length_exceeded", nullptr};
        case Code::kTooLarge: return {413, "invalid_request_error", "too_large", nullptr};
        case Code::kUnsupported: return {400, "invalid_request_error", "unsupported", nullptr};
        case Code::kUnauthenticated:
            return {401, "authentication_error", "invalid_api_key",
                    "The API key is missing or not valid. Send it as: Authorization: Bearer ost_..."};
        case Code::kPermissionDenied: return {403, "permission_error", "permission_denied", nullptr};
        case Code::kNotFound: return {404, "invalid_request_error", "not_found", nullptr};
        case Code::kConflict: return {409, "invalid_request_error", "conflict", nullptr};
        case Code::kUnavailable: return {503, "server_error", "unavailable", nullptr};
        case Code::kResourceExhausted: return {429, "rate_limit_error", "rate_limit_exceeded", nullptr};
        case Code::kDeadlineExceeded: return {503, "server_error", "deadline_exceeded", nullptr};
        case Code::kNoSpace:
            return {503, "server_error", "no_space", "The appliance has no disk space left; its operator must free some."};
        case Code::kCancelled: return {499, "server_error", "cancelled", "The request was cancelled."};
        case Code::kIntegrity:
        case Code::kIo:
        case Code::kInternal: break;
    }
    return {500, "server_error", "internal_error",
            "The appliance failed to answer this request; its operator finds the reason by the request id."};
}

json::Value text_or_null(const std::string& text) { return text.empty() ? json::Value(nullptr) : json::Value(text); }

json::Object members(const ApiError& error) {
    return json::Object{{"message", error.message},
                        {"type", error.type},
                        {"param", text_or_null(error.param)},
                        {"code", text_or_null(error.code)}};
}

// "messages.2.role" as FastAPI writes it: ["body", "messages", 2, "role"].
json::Array location_of(std::string_view param) {
    json::Array out;
    out.emplace_back("body");
    while (!param.empty()) {
        const std::string_view step = param.substr(0, param.find('.'));
        std::int64_t index = 0;
        const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
        const bool is_index = error == std::errc() && end == step.data() + step.size();
        out.push_back(is_index ? json::Value(index) : json::Value(step));
        param.remove_prefix(std::min(step.size() + 1, param.size()));
    }
    return out;
}

}  // namespace

ApiError to_api_error(const Error& error, std::string param) {
    const Row row = row_of(error.code());
    ApiError out;
    out.status = row.status;
    out.type = row.type;
    out.code = error.reason().empty() || row.fixed_message != nullptr ? row.code : error.reason();
    out.param = std::move(param);
    out.message = row.fixed_message != nullptr ? row.fixed_message : error.message();
    if (row.status == 503 || row.status == 429) out.retry_after_s = 1;
    return out;
}

json::Value error_body(const ApiError& error) {
    json::Object body;
    body.append("object", "error");
    for (const auto& [key, value] : members(error)) body.append(key, value);
    body.append("error", json::Value(members(error)));
    if (error.status == 422) {
        json::Object detail{{"loc", location_of(error.param)}, {"msg", error.message}, {"type", "value_error"}, {"input", nullptr}};
        json::Array details;
        details.emplace_back(std::move(detail));
        body.append("detail", std::move(details));
    }
    return body;
}

http::Response json_response(int status, const json::Value& body) { return json_response(status, json::to_string(body)); }

http::Response json_response(int status, std::string json_text) {
    http::Response response;
    response.status = status;
    response.headers = {{"content-type", "application/json"}, {"cache-control", "no-store"}};
    response.body = std::move(json_text);
    return response;
}

http::Response error_response(const ApiError& error) {
    http::Response response = json_response(error.status, error_body(error));
    if (error.retry_after_s > 0) response.headers.emplace_back("retry-after", std::to_string(error.retry_after_s));
    if (error.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
    return response;
}

http::Response error_response(const Error& error, std::string param) {
    return error_response(to_api_error(error, std::move(param)));
}

std::string error_event(const ApiError& error) {
    return json::to_string(json::Object{{"error", json::Value(members(error))}});
}

http::Response transport_error(int status, std::string_view code, std::string_view message, std::string_view) {
    ApiError error;
    error.status = status;
    error.type = status >= 500 ? "server_error" : "invalid_request_error";
    error.code = std::string(code);
    error.message = std::string(message);
    return error_response(error);
}

}  // namespace ostal::api
