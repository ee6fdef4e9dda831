#include "appliance/api/routes.h"

#include "base/check.h"

namespace ostal::api {
namespace {

using http::Method;
using http::Permission;
using http::Public;

constexpr std::uint64_t kNoBody = 0;
constexpr std::uint64_t kSmallBody = 16 << 10;
constexpr std::uint64_t kPromptBody = UINT64_MAX;  // the configured limit

}  // namespace

const std::vector<RouteSpec>& route_specs() {
    static const std::vector<RouteSpec> table = {
        {Method::kGet, "/livez", Public{}, kNoBody, livez},
        {Method::kGet, "/readyz", Public{}, kNoBody, readyz},
        {Method::kGet, "/health", Public{}, kNoBody, readyz},
        {Method::kGet, "/api/v1/seal", Public{}, kNoBody, seal_state},
        {Method::kPost, "/api/v1/unseal", Public{}, kSmallBody, unseal},
        {Method::kGet, "/metrics", Permission("metrics:read"), kNoBody, metrics},
        {Method::kGet, "/v1/models", Permission("model:list"), kNoBody, list_models},
        {Method::kGet, "/v1/models/{id}", Permission("model:list"), kNoBody, get_model},
        {Method::kPost, "/v1/chat/completions", Permission("inference:chat"), kPromptBody, chat_completions},
        {Method::kPost, "/v1/completions", Permission("inference:complete"), kPromptBody, completions},
        {Method::kPost, "/v1/fim/completions", Permission("inference:complete"), kPromptBody, fim_completions},
        {Method::kPost, "/v1/embeddings", Permission("inference:embed"), kPromptBody, embeddings},
    };
    return table;
}

RouteTable make_routes(Services& services) {
    std::vector<http::Route> routes;
    std::vector<Answer> answers;
    for (const RouteSpec& spec : route_specs()) {
        routes.emplace_back(spec.method, spec.pattern, spec.access, spec.body_limit_bytes, answers.size());
        answers.push_back([&services, answer = spec.answer](Call call) { answer(services, std::move(call)); });
    }
    auto router = http::Router::make(std::move(routes));
    CHECK(router.has_value());
    return RouteTable{std::move(*router), std::move(answers)};
}

}  // namespace ostal::api
