#include "appliance/control/operations.h"

#include <algorithm>

#include "appliance/control/invocation.h"
#include "security/storage/ids.h"

namespace ostal {

using security::Permission;

Result<std::vector<std::string>> Operations::Invocation::texts(std::string_view name) const {
    std::vector<std::string> out;
    if (!args.contains(name)) return out;
    OSTAL_TRY(const json::Array* list, json::array_member(args, name));
    for (const json::Value& item : *list) {
        if (!item.is_string()) return fail(Code::kInvalidArgument, std::string(name) + ": expected strings");
        out.push_back(item.as_string());
    }
    return out;
}

Result<security::SlotSecret> Operations::Invocation::slot_secret() const {
    if (const json::Value* key = args.find("key"); key != nullptr && key->is_string()) {
        OSTAL_TRY(Bytes bytes, from_hex(key->as_string()));
        auto secret = security::SlotSecret::key_file(security::SecretBytes::copy_of(bytes));
        security::wipe(bytes);
        return secret;
    }
    OSTAL_TRY(std::string passphrase, text("passphrase"));
    return security::SlotSecret::passphrase(security::SecretBytes::take(passphrase));
}

Result<security::Project> Operations::Invocation::project() const {
    OSTAL_TRY(const std::string name, text("project"));
    return vault->tenants.project_by_name(caller.tenant, name);
}

const std::vector<Operations::Verb>& Operations::verbs() {
    using Needs = Verb::Needs;
    using O = Operations;
    static const std::vector<Verb> table = {
        {"setup", std::nullopt, Needs::kNothing, false, &O::setup, ""},
        {"status", std::nullopt, Needs::kNothing, false, &O::status, ""},
        {"unseal", std::nullopt, Needs::kNothing, false, &O::unseal, ""},
        {"seal", Permission::kCryptoSeal, Needs::kUnsealed, false, &O::seal, ""},
        {"slot add", Permission::kCryptoSlot, Needs::kUnsealed, true, &O::slot_add, "label"},
        {"slot list", Permission::kCryptoSlot, Needs::kUnsealed, false, &O::slot_list, ""},
        {"slot remove", Permission::kCryptoSlot, Needs::kUnsealed, true, &O::slot_remove, "id"},
        {"model import", Permission::kModelImport, Needs::kUnsealed, true, &O::model_import, ""},
        {"model list", Permission::kModelList, Needs::kUnsealed, false, &O::model_list, ""},
        {"model verify", Permission::kModelList, Needs::kUnsealed, true, &O::model_verify, "name"},
        {"model approve", Permission::kModelApprove, Needs::kUnsealed, true, &O::model_approve, "name"},
        {"model activate", Permission::kModelActivate, Needs::kUnsealed, true, &O::model_activate, "name"},
        {"model rollback", Permission::kModelRollback, Needs::kUnsealed, true, &O::model_rollback, "name"},
        {"model grant", Permission::kModelGrant, Needs::kUnsealed, true, &O::model_grant, "name"},
        {"user create", Permission::kUserCreate, Needs::kUnsealed, true, &O::user_create, ""},
        {"user list", Permission::kUserRead, Needs::kUnsealed, false, &O::user_list, ""},
        {"user disable", Permission::kUserDisable, Needs::kUnsealed, true, &O::user_disable, ""},
        {"user enable", Permission::kUserDisable, Needs::kUnsealed, true, &O::user_enable, ""},
        {"user password", Permission::kUserReset, Needs::kUnsealed, true, &O::user_password, ""},
        {"key create", Permission::kKeyCreate, Needs::kUnsealed, true, &O::key_create, "name"},
        {"key list", Permission::kKeyList, Needs::kUnsealed, false, &O::key_list, ""},
        {"key revoke", Permission::kKeyRevoke, Needs::kUnsealed, true, &O::key_revoke, "id"},
        {"audit tail", Permission::kAuditRead, Needs::kUnsealed, true, &O::audit_tail, ""},
        {"audit verify", Permission::kAuditVerify, Needs::kNothing, false, &O::audit_verify, ""},
        // As a restart does, and for the same people: it repairs the files or changes nothing, and records itself.
        {"audit recover", std::nullopt, Needs::kNothing, false, &O::audit_recover, ""},
    };
    return table;
}

void Operations::serve(Channel channel) {
    auto message = channel.receive();
    if (!message) return;
    const auto result = run(channel, *message);
    json::wipe(message->value);
    json::Value answer = result ? json::Object{{"result", *result}} : json::Object{{"error", error_to_json(result.error())}};
    (void)channel.send(answer);
    json::wipe(answer);
}

Result<json::Value> Operations::run(Channel& channel, Channel::Message& message) {
    OSTAL_TRY(const json::Object* body, json::object_at(message.value, "message"));
    OSTAL_TRY(const std::string name, json::string_member(*body, "verb"));
    OSTAL_TRY(const json::Object* args, json::object_member(*body, "args"));
    const auto verb = std::find_if(verbs().begin(), verbs().end(), [&](const Verb& v) { return v.name == name; });
    if (verb == verbs().end()) return fail(Code::kUsage, "unknown verb " + name.substr(0, 64));
    OSTAL_TRY(const api::Caller caller, identify(message.value));
    Invocation call{*args, std::move(message.descriptors), caller, appliance_.vault(), channel};
    if (verb->needs == Verb::Needs::kUnsealed && call.vault == nullptr) {
        return fail(Code::kUnavailable, appliance_.phase() == Phase::kNew
                                            ? "the appliance is not set up yet: run ostalctl setup"
                                            : "the appliance is sealed: run ostalctl unseal");
    }
    return run_audited(*verb, call);
}

// The socket's own subject: root and the daemon's user may what the access policy gives local root; where one
// approval suffices they act as the owner. `as` names a user, with his password.
Result<api::Caller> Operations::identify(const json::Value& message) {
    api::Caller caller;
    caller.actor = "root";
    caller.auth = "socket";
    caller.request_id = security::id_text(security::IdKind::kRequest, security::new_id(appliance_.random()));
    caller.subject.kind = security::Subject::Kind::kLocalRoot;
    const auto vault = appliance_.vault();
    if (vault == nullptr) return caller;
    OSTAL_TRY(const auto tenant, vault->tenants.tenant_by_name("default"));
    caller.tenant = tenant.id;
    std::optional<security::User> user;
    if (const json::Value* name = message.find("as"); name != nullptr && name->is_string()) {
        const json::Value* password = message.find("password");
        if (password == nullptr || !password->is_string()) return fail(Code::kUsage, "--as needs a password on standard input");
        auto signed_in = vault->users.authenticate(name->as_string(), password->as_string());
        if (!signed_in) {
            security::AuditRecord record = api::audit_record(caller, "auth:failed", name->as_string());
            record.decision = "deny";
            record.status = 401;
            OSTAL_TRYV(appliance_.audit().append(std::move(record)));
            return fail(std::move(signed_in).error());
        }
        user = std::move(*signed_in);
        caller.auth = "password";
        caller.tenant = user->tenant;
    } else {
        OSTAL_TRY(const std::uint32_t approvals, vault->users.approvals_required());
        if (approvals == 1) {
            OSTAL_TRY(const auto users, vault->users.list_all());
            for (const security::User& candidate : users) {
                const bool is_owner = std::any_of(candidate.roles.begin(), candidate.roles.end(),
                                                  [](const auto& held) { return held.role == security::Role::kOwner; });
                if (is_owner && !candidate.disabled) user = candidate;
            }
        }
    }
    if (user) {
        OSTAL_TRY(caller.subject, vault->users.subject(*user));
        caller.actor = security::id_text(security::IdKind::kUser, user->id);
    }
    return caller;
}

Result<json::Value> Operations::run_audited(const Verb& verb, Invocation& call) {
    if (!verb.permission) return (this->*verb.run)(call);
    std::string object_name;
    if (const json::Value* member = call.args.find(verb.object_member); member != nullptr && member->is_string()) {
        object_name = member->as_string();
    }
    security::Object object;
    object.kind = security::Object::Kind::kInstance;
    object.tenant = call.caller.tenant;
    const std::string_view name = security::permission_name(*verb.permission);
    OSTAL_TRY(const auto decision, api::authorise(call.caller, *verb.permission, object, object_name, appliance_.audit()));
    if (!verb.changes) return (this->*verb.run)(call);

    security::AuditRecord record = api::audit_record(call.caller, name, object_name);
    record.pair = security::AuditPair::kRequest;
    record.decision = "allow";
    record.policy_version = decision.policy_version;
    record.role = decision.role ? std::string(security::role_name(*decision.role)) : "";
    record.detail = std::string(verb.name);
    // The audit itself is read even while it is latched (its reserve is for that).
    const auto urgency = verb.permission == Permission::kAuditRead ? security::AuditLog::Urgency::kEssential
                                                                   : security::AuditLog::Urgency::kNormal;
    OSTAL_TRYV(appliance_.audit().append(record, urgency));
    auto result = (this->*verb.run)(call);
    record.pair = security::AuditPair::kResponse;
    record.detail = std::string(verb.name) + (result ? ": ok" : ": " + result.error().to_string());
    OSTAL_TRYV(appliance_.audit().append(std::move(record), urgency));
    return result;
}

}  // namespace ostal
