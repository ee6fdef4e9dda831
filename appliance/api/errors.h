// Errors as clients see them: one closed mapping from Error to status, type, code and the double body shape.
//
// The body satisfies both dialects at once (OpenAI: "error": {...}; La Plateforme: the flat members), and for
// 422 also FastAPI's `detail`. Messages of kInternal, kIo and kIntegrity never reach a client.
#pragma once

#include <string>
#include <string_view>

#include "appliance/net/http/message.h"
#include "base/json.h"
#include "base/result.h"

namespace ostal::api {

struct ApiError {
    int status = 500;
    std::string type;     // "invalid_request_error", "authentication_error", "rate_limit_error", "server_error" ...
    std::string code;     // "" becomes null
    std::string param;    // path of the field, "" becomes null
    std::string message;
    int retry_after_s = 0;  // 0: no Retry-After
};

// `param` names the offending field when the caller knows it.
ApiError to_api_error(const Error& error, std::string param = {});

json::Value error_body(const ApiError& error);
http::Response error_response(const ApiError& error);
http::Response error_response(const Error& error, std::string param = {});
// The SSE form, {"error": {...}}: sent when the stream is already open; no [DONE] follows.
std::string error_event(const ApiError& error);

http::Response json_response(int status, const json::Value& body);
http::Response json_response(int status, std::string json_text);

// ErrorBody of the HTTP layer (http/message.h).
http::Response transport_error(int status, std::string_view code, std::string_view message,
                               std::string_view request_id);

}  // namespace ostal::api
