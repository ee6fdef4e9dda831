// The operator's verbs: what `ostalctl` asks over the control socket. One table names each verb's permission.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "appliance/api/caller.h"
#include "appliance/control/channel.h"
#include "appliance/core/appliance.h"
#include "base/json.h"

namespace ostal {

// Thread-safe: the appliance is.
class Operations {
public:
    // `identity_changed` is called after set-up made a new server certificate.
    Operations(Appliance& appliance, std::function<void()> identity_changed)
        : appliance_(appliance), identity_changed_(std::move(identity_changed)) {}

    // Serves one connection of the control socket.
    void serve(Channel channel);

private:
    struct Invocation;
    struct Verb;
    static const std::vector<Verb>& verbs();

    Result<json::Value> run(Channel& channel, Channel::Message& message);
    Result<api::Caller> identify(const json::Value& message);
    Result<json::Value> run_audited(const Verb& verb, Invocation& call);

    Result<json::Value> setup(Invocation& call);
    Result<json::Value> status(Invocation& call);
    Result<json::Value> unseal(Invocation& call);
    Result<json::Value> seal(Invocation& call);
    Result<json::Value> slot_add(Invocation& call);
    Result<json::Value> slot_list(Invocation& call);
    Result<json::Value> slot_remove(Invocation& call);
    Result<json::Value> model_import(Invocation& call);
    Result<json::Value> model_list(Invocation& call);
    Result<json::Value> model_verify(Invocation& call);
    Result<json::Value> model_approve(Invocation& call);
    Result<json::Value> model_activate(Invocation& call);
    Result<json::Value> model_rollback(Invocation& call);
    Result<json::Value> model_grant(Invocation& call);
    Result<json::Value> user_create(Invocation& call);
    Result<json::Value> user_list(Invocation& call);
    Result<json::Value> user_disable(Invocation& call);
    Result<json::Value> user_enable(Invocation& call);
    Result<json::Value> user_password(Invocation& call);
    Result<json::Value> key_create(Invocation& call);
    Result<json::Value> key_list(Invocation& call);
    Result<json::Value> key_revoke(Invocation& call);
    Result<json::Value> audit_tail(Invocation& call);
    Result<json::Value> audit_verify(Invocation& call);
    Result<json::Value> audit_recover(Invocation& call);

    bool may_go_on(const Invocation& call) const;
    HealthGate health_gate(std::shared_ptr<LoadedModel>& passed);
    Result<json::Value> set_disabled(Invocation& call, bool disabled);

    Appliance& appliance_;
    const std::function<void()> identity_changed_;
};

}  // namespace ostal
