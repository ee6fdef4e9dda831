#include "appliance/net/http/message.h"

#include "base/json.h"

namespace ostal::http {
namespace {

std::optional<std::string_view> only_value(const std::vector<std::pair<std::string, std::string>>& fields,
                                           std::string_view name) {
    std::optional<std::string_view> found;
    for (const auto& [key, value] : fields) {
        if (key != name) continue;
        if (found) return std::nullopt;
        found = value;
    }
    return found;
}

std::string_view error_type(int status) {
    if (status == 401) return "authentication_error";
    if (status == 403) return "permission_error";
    if (status == 429) return "rate_limit_error";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

}  // namespace

std::string_view method_name(Method method) {
    switch (method) {
        case Method::kGet: return "GET";
        case Method::kHead: return "HEAD";
        case Method::kPost: return "POST";
        case Method::kPut: return "PUT";
        case Method::kPatch: return "PATCH";
        case Method::kDelete: return "DELETE";
        case Method::kOptions: return "OPTIONS";
        case Method::kOther: return "other";
    }
    return "other";
}

std::optional<std::string_view> Request::header(std::string_view lower_name) const {
    return only_value(headers, lower_name);
}

std::optional<std::string_view> Request::param(std::string_view name) const {
    return only_value(path_params, name);
}

std::optional<std::string_view> Request::query_value(std::string_view name) const {
    return only_value(query, name);
}

Response json_error(int status, std::string_view code, std::string_view message, std::string_view) {
    const json::Object error = {{"message", message}, {"type", error_type(status)}, {"param", nullptr}, {"code", code}};
    json::Object body = {{"object", "error"}};
    for (const auto& [key, value] : error) body.append(key, value);
    body.append("error", error);
    Response response;
    response.status = status;
    response.headers = {{"content-type", "application/json"}};
    response.body = json::to_string(body);
    return response;
}

}  // namespace ostal::http
