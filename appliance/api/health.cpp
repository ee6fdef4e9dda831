#include "appliance/api/errors.h"
#include "appliance/api/routes.h"
#include "appliance/core/appliance.h"

namespace ostal::api {

void livez(Services&, Call call) { call.respond(json_response(200, json::Object{{"status", "alive"}})); }

// Ready: unsealed, the audit can be written and every active model is loaded.
void readyz(Services& services, Call call) {
    const Readiness readiness = services.appliance.readiness();
    http::Response response = json_response(readiness.ready ? 200 : 503, json::Object{{"status", readiness.reason}});
    if (!readiness.ready) response.headers.emplace_back("retry-after", "1");
    call.respond(std::move(response));
}

void seal_state(Services& services, Call call) {
    const char* state = "unsealed";
    if (services.appliance.phase() == Phase::kNew) state = "new";
    if (services.appliance.phase() == Phase::kSealed) state = "sealed";
    call.respond(json_response(200, json::Object{{"state", state}}));
}

// {"passphrase": "..."}: the secret is the credential.
void unseal(Services& services, Call call) {
    if (services.appliance.phase() != Phase::kSealed) {
        call.respond(error_response(Error(Code::kConflict, "the appliance is not sealed")));
        return;
    }
    auto body = json::parse(call.request->body);
    security::wipe(call.request->body);
    const json::Value* passphrase = body ? body->find("passphrase") : nullptr;
    if (passphrase == nullptr || !passphrase->is_string()) {
        if (body) json::wipe(*body);
        call.respond(error_response(Error(Code::kInvalidArgument, "expected {\"passphrase\": \"...\"}"), "passphrase"));
        return;
    }
    auto secret = security::SlotSecret::passphrase(security::SecretBytes::copy_of(as_bytes(passphrase->as_string())));
    json::wipe(*body);
    const Status unsealed = services.appliance.unseal(secret, call.caller);
    if (!unsealed && unsealed.error().code() == Code::kUnauthenticated) {
        ApiError wrong = to_api_error(unsealed.error());
        wrong.code = "wrong_passphrase";
        wrong.message = "The passphrase opens no slot.";
        call.respond(error_response(wrong));
    } else if (!unsealed) {
        call.respond(error_response(unsealed.error()));
    } else {
        call.respond(json_response(200, json::Object{{"state", "unsealed"}}));
    }
}

}  // namespace ostal::api
