#include "appliance/api/gateway.h"

#include <algorithm>

#include "appliance/api/errors.h"
#include "appliance/core/appliance.h"
#include "security/storage/ids.h"

namespace ostal::api {
namespace {

constexpr std::int64_t kFailureRecordInterval_us = 60'000'000;

// What admit() found, for handle().
struct Admitted {
    const http::Route* route = nullptr;
    Caller caller;
};

http::Admission refused(http::Response response) {
    http::Admission admission;
    admission.refusal = std::move(response);
    return admission;
}

std::optional<std::string_view> bearer_token(std::string_view authorization) {
    constexpr std::string_view kBearer = "bearer ";
    if (authorization.size() <= kBearer.size()) return std::nullopt;
    const auto same = [](char want, char got) {
        return want == (got >= 'A' && got <= 'Z' ? static_cast<char>(got + 32) : got);
    };
    if (!std::equal(kBearer.begin(), kBearer.end(), authorization.begin(), same)) return std::nullopt;
    return authorization.substr(kBearer.size());
}

// The credential of the request: a Bearer token, or x-api-key as Anthropic's clients send it. Several that differ
// are none: a proxy in front may have judged another one than we would.
std::optional<std::string_view> credential(const http::Request& request) {
    std::optional<std::string_view> found;
    for (const auto& [name, value] : request.headers) {
        if (name != "authorization" && name != "x-api-key") continue;
        const auto token = name == "x-api-key" ? std::optional<std::string_view>(value) : bearer_token(value);
        if (!token || (found && *found != *token)) return std::nullopt;
        found = token;
    }
    return found;
}

// Paths that are answered without a credential are public; all others below these are 401, known or not.
bool is_closed_path(std::string_view path) {
    for (const std::string_view prefix : {"/v1", "/api", "/metrics"}) {
        if (path == prefix || (path.starts_with(prefix) && path[prefix.size()] == '/')) return true;
    }
    return false;
}

http::Response not_found() { return error_response(Error(Code::kNotFound, "There is nothing at this path.")); }

http::Response unavailable(const char* code, const char* message) {
    ApiError error;
    error.status = 503;
    error.type = "server_error";
    error.code = code;
    error.message = message;
    error.retry_after_s = 5;
    return error_response(error);
}

http::Response wrong_method(const http::Match& match) {
    ApiError error;
    error.status = match.kind == http::Match::Kind::kUnknownMethod ? 501 : 405;
    error.type = "invalid_request_error";
    error.code = error.status == 501 ? "method_not_implemented" : "method_not_allowed";
    error.message = error.status == 501 ? "This method is not implemented." : "This path takes " + match.allow + ".";
    http::Response response = error_response(error);
    if (error.status == 405) response.headers.emplace_back("allow", match.allow);
    return response;
}

}  // namespace

Gateway::Gateway(Services& services, RouteTable routes, WorkPool& pool)
    : services_(services), routes_(std::move(routes)), pool_(pool) {}

void Gateway::admit(std::shared_ptr<http::Request> request, http::Admit done) {
    const bool queued = pool_.try_run([this, request, done] { done(decide(*request)); });
    if (!queued) done(refused(unavailable("overloaded", "The appliance is overloaded; try again in a moment.")));
}

void Gateway::handle(std::shared_ptr<http::Request> request, std::shared_ptr<void> context, http::Respond respond) {
    const auto admitted = std::static_pointer_cast<Admitted>(std::move(context));
    // Counts every answer under its route's pattern, and names the request on it.
    http::Respond counted = [this, request, admitted, respond = std::move(respond)](http::Response response) {
        services_.requests.count(admitted->route->pattern, std::string(http::method_name(admitted->route->method)),
                                 response.status);
        respond(std::move(response));
    };
    const bool queued = pool_.try_run([this, request, admitted, counted] {
        // Taken for the time of the call: a slow upload or a long answer must not hold up sealing.
        auto vault = services_.appliance.vault();
        if (vault == nullptr && !std::holds_alternative<http::Public>(admitted->route->access)) {
            counted(unavailable("sealed", "The appliance is sealed: an operator must unseal it."));
            return;
        }
        Call call{request, admitted->caller, std::move(vault), counted};
        routes_.answers[admitted->route->handler](std::move(call));
    });
    if (!queued) counted(unavailable("overloaded", "The appliance is overloaded; try again in a moment."));
}

http::Admission Gateway::decide(http::Request& request) {
    const http::Match match = routes_.router.match(request.method, request.path);
    const bool is_public = match.kind == http::Match::Kind::kFound && std::holds_alternative<http::Public>(match.route->access);
    auto admitted = std::make_shared<Admitted>();
    const auto vault = services_.appliance.vault();
    if (is_public) {
        admitted->caller.actor = "anonymous";
        admitted->caller.auth = "none";
        admitted->caller.ip = request.peer_ip;
        admitted->caller.request_id = request.request_id;
    } else {
        if (!is_closed_path(request.path)) return refused(match.kind == http::Match::Kind::kNoPath ? not_found() : wrong_method(match));
        if (services_.appliance.phase() == Phase::kNew) {
            return refused(unavailable("setup_required", "The appliance is not set up yet: run ostalctl setup on its machine."));
        }
        if (vault == nullptr) {
            return refused(unavailable("sealed", "The appliance is sealed: an operator must unseal it."));
        }
        auto caller = authenticate(request, *vault);
        if (!caller) return refused(error_response(caller.error()));
        admitted->caller = std::move(*caller);
        if (match.kind == http::Match::Kind::kNoPath) return refused(not_found());
        if (match.kind != http::Match::Kind::kFound) return refused(wrong_method(match));
        if (const auto* needed = std::get_if<http::Permission>(&match.route->access)) {
            const auto permission = security::permission_from_name(needed->name);
            security::Object object;
            object.kind = security::Object::Kind::kProject;
            object.tenant = admitted->caller.tenant;
            object.project = admitted->caller.project;
            if (needed->name.starts_with("inference:")) {
                // Which model is in the body: here only whether the caller may infer at all.
                object.kind = security::Object::Kind::kModelGrant;
                object.granted = true;
                if (!admitted->caller.subject.models.empty()) object.model = admitted->caller.subject.models.front();
            }
            if (!permission) return refused(error_response(Error(Code::kPermissionDenied, "unknown permission")));
            auto decision = authorise(admitted->caller, *permission, object, match.route->pattern, services_.appliance.audit());
            if (!decision) return refused(error_response(decision.error()));
        }
    }
    request.path_params = match.params;
    admitted->route = match.route;
    http::Admission admission;
    admission.body_limit_bytes = std::min<std::uint64_t>(
        match.route->body_limit_bytes, static_cast<std::uint64_t>(services_.appliance.config().server.body_limit_bytes));
    admission.context = std::move(admitted);
    return admission;
}

Result<Caller> Gateway::authenticate(const http::Request& request, Vault& vault) {
    const auto token = credential(request);
    auto key = token ? vault.keys.authenticate(*token) : Result<security::ApiKey>(fail(Code::kUnauthenticated, "no credential"));
    if (!key) {
        if (key.error().code() != Code::kUnauthenticated) return fail(key.error());
        if (token) OSTAL_TRYV(note_failed_credential(request));
        return fail(key.error());
    }
    Caller caller;
    caller.subject = security::ApiKeys::subject(*key);
    caller.actor = security::id_text(security::IdKind::kKey, key->id);
    caller.auth = "api-key";
    caller.ip = request.peer_ip;
    caller.tenant = key->tenant;
    caller.project = key->project;
    caller.request_id = request.request_id;
    return caller;
}

Status Gateway::note_failed_credential(const http::Request& request) {
    ++failures_;
    const std::int64_t now = services_.appliance.clock().mono_now_us();
    std::int64_t last = last_failure_record_us_.load();
    if (now - last < kFailureRecordInterval_us || !last_failure_record_us_.compare_exchange_strong(last, now)) return {};
    security::AuditRecord record;
    record.id = request.request_id;
    record.actor = "anonymous";
    record.auth = "none";
    record.ip = request.peer_ip;
    record.action = "auth:failed";
    record.decision = "deny";
    record.status = 401;
    record.detail = std::to_string(failures_.exchange(0)) + " failed credentials since the last such record";
    return services_.appliance.audit().append(std::move(record));
}

}  // namespace ostal::api
