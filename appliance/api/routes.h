// The routes of the HTTPS server: each names its permission and what answers it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "appliance/api/caller.h"
#include "appliance/config.h"
#include "appliance/core/vault.h"
#include "appliance/net/http/message.h"
#include "appliance/net/http/router.h"
#include "appliance/net/server.h"
#include "appliance/ops/metrics.h"
#include "appliance/serving/inference.h"
#include "appliance/serving/models.h"

namespace ostal {
class Appliance;
}

namespace ostal::api {

// One admitted request on a work thread.
struct Call {
    std::shared_ptr<http::Request> request;
    Caller caller;
    std::shared_ptr<Vault> vault;  // nullptr for public routes while sealed or new
    http::Respond respond;
};
using Answer = std::function<void(Call)>;

struct RouteTable {
    http::Router router;
    std::vector<Answer> answers;  // by Route::handler
};

// Everything a route may use, alive as long as the server.
struct Services {
    Appliance& appliance;
    RequestCounter requests;
    InferenceMetrics inference;
    std::function<http::ServerStats()> server_stats;  // set before the server starts
};

// The table itself: a permission, or one of the few public paths.
struct RouteSpec {
    http::Method method;
    const char* pattern;
    http::Access access;
    std::uint64_t body_limit_bytes;
    void (*answer)(Services&, Call);
};
const std::vector<RouteSpec>& route_specs();

RouteTable make_routes(Services& services);

// POST /v1/chat/completions
void chat_completions(Services& services, Call call);
// POST /v1/completions, POST /v1/fim/completions
void completions(Services& services, Call call);
void fim_completions(Services& services, Call call);
// POST /v1/embeddings
void embeddings(Services& services, Call call);
// GET /v1/models, GET /v1/models/{id}
void list_models(Services& services, Call call);
void get_model(Services& services, Call call);
// GET /livez, /readyz, /health
void livez(Services& services, Call call);
void readyz(Services& services, Call call);
// GET /metrics
void metrics(Services& services, Call call);
// GET /api/v1/seal, POST /api/v1/unseal
void seal_state(Services& services, Call call);
void unseal(Services& services, Call call);

}  // namespace ostal::api
