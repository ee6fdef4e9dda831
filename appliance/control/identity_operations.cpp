// user and key.
#include "appliance/control/invocation.h"
#include "security/storage/ids.h"

namespace ostal {
namespace {

constexpr std::int64_t kDay_us = 86'400'000'000;
constexpr std::int64_t kMaxKeyDays = 366;

json::Value time_or_null(std::int64_t us) { return us == 0 ? json::Value(nullptr) : json::Value(to_rfc3339(us)); }

json::Value user_to_json(const security::User& user) {
    json::Array roles;
    for (const auto& held : user.roles) roles.emplace_back(security::role_name(held.role));
    return json::Object{{"id", security::id_text(security::IdKind::kUser, user.id)}, {"name", user.name},
                        {"roles", std::move(roles)}, {"disabled", user.disabled}, {"created", to_rfc3339(user.created_us)}};
}

json::Value key_to_json(const security::ApiKey& key) {
    json::Array models;
    for (const std::string& model : key.models) models.emplace_back(model);
    return json::Object{{"id", security::id_text(security::IdKind::kKey, key.id)}, {"name", key.name},
                        {"prefix", (key.environment == security::KeyEnvironment::kLive ? "ost_live_" : "ost_test_") + key.lookup},
                        {"models", std::move(models)}, {"created", to_rfc3339(key.created_us)},
                        {"expires", time_or_null(key.expires_us)}, {"revoked", time_or_null(key.revoked_us)},
                        {"last_used", time_or_null(key.last_used_us)}};
}

// Asked again with the user at hand: who may reset or disable at all may not do it to everybody.
Status authorise_for(const api::Caller& caller, security::Permission permission, const security::User& user,
                     security::AuditLog& audit) {
    security::Object object;
    object.kind = security::Object::Kind::kUser;
    object.id = user.id;
    object.tenant = user.tenant;
    for (const auto& held : user.roles) object.held_roles.push_back(held.role);
    OSTAL_TRYV(api::authorise(caller, permission, object, security::id_text(security::IdKind::kUser, user.id), audit));
    return {};
}

}  // namespace

Result<json::Value> Operations::user_create(Invocation& call) {
    OSTAL_TRY(const std::string name, call.text("name"));
    OSTAL_TRY(std::string password, call.text("password"));
    OSTAL_TRY(const auto role_words, call.texts("roles"));
    std::vector<security::RoleAssignment> assignments;
    OSTAL_TRY(const auto project, call.vault->tenants.project_by_name(call.caller.tenant, "default"));
    for (const std::string& word : role_words) {
        const auto role = security::role_from_name(word);
        if (!role) return fail(Code::kInvalidArgument, "there is no role " + word);
        security::RoleAssignment assignment;
        assignment.role = *role;
        if (security::role_scope(*role) != security::RoleScope::kInstance) assignment.tenant = call.caller.tenant;
        if (security::role_scope(*role) == security::RoleScope::kProject) assignment.project = project.id;
        security::Object object;
        object.kind = security::Object::Kind::kUser;
        object.tenant = call.caller.tenant;
        object.assigned_role = *role;
        OSTAL_TRY(const auto decision, api::authorise(call.caller, security::Permission::kRoleAssign, object, word, appliance_.audit()));
        (void)decision;
        assignments.push_back(assignment);
    }
    const auto created = call.vault->users.create(call.caller.tenant, name, password, assignments);
    security::wipe(password);
    if (!created) return fail(created.error());
    return user_to_json(*created);
}

Result<json::Value> Operations::user_list(Invocation& call) {
    OSTAL_TRY(const auto users, call.vault->users.list(call.caller.tenant));
    json::Array out;
    for (const auto& user : users) out.push_back(user_to_json(user));
    return json::Value(std::move(out));
}

Result<json::Value> Operations::set_disabled(Invocation& call, bool disabled) {
    OSTAL_TRY(const std::string name, call.text("name"));
    OSTAL_TRY(const auto user, call.vault->users.find_by_name(name));
    OSTAL_TRYV(authorise_for(call.caller, security::Permission::kUserDisable, user, appliance_.audit()));
    OSTAL_TRYV(call.vault->users.set_disabled(user.id, disabled));
    OSTAL_TRY(const auto changed, call.vault->users.find(user.id));
    return user_to_json(changed);
}
Result<json::Value> Operations::user_disable(Invocation& call) { return set_disabled(call, true); }
Result<json::Value> Operations::user_enable(Invocation& call) { return set_disabled(call, false); }

Result<json::Value> Operations::user_password(Invocation& call) {
    OSTAL_TRY(const std::string name, call.text("name"));
    OSTAL_TRY(std::string password, call.text("password"));
    OSTAL_TRY(const auto user, call.vault->users.find_by_name(name));
    OSTAL_TRYV(authorise_for(call.caller, security::Permission::kUserReset, user, appliance_.audit()));
    const Status set = call.vault->users.set_password(user.id, password);
    security::wipe(password);
    if (!set) return fail(set.error());
    return user_to_json(user);
}

Result<json::Value> Operations::key_create(Invocation& call) {
    security::NewApiKey request;
    OSTAL_TRY(request.name, call.text("name"));
    OSTAL_TRY(const auto project, call.project());
    OSTAL_TRY(request.models, call.texts("models"));
    OSTAL_TRY(const auto scopes, call.texts("scopes"));
    for (const std::string& word : scopes) {
        const auto permission = security::permission_from_name(word);
        if (!permission) return fail(Code::kInvalidArgument, "there is no permission " + word);
        request.scopes.push_back(*permission);
    }
    OSTAL_TRY(const std::int64_t days, json::int_member(call.args, "days"));
    if (days < 1 || days > kMaxKeyDays) return fail(Code::kInvalidArgument, "a key lives from 1 to 366 days");
    request.tenant = project.tenant;
    request.project = project.id;
    request.created_by = call.caller.subject.id;
    request.expires_us = appliance_.clock().wall_now_us() + days * kDay_us;
    OSTAL_TRY(auto created, call.vault->keys.create(request));
    json::Value out = key_to_json(created.key);
    out.as_object().append("key", created.text);
    security::wipe(created.text);
    return out;
}

Result<json::Value> Operations::key_list(Invocation& call) {
    OSTAL_TRY(const auto project, call.project());
    OSTAL_TRY(const auto keys, call.vault->keys.list(project.tenant, project.id));
    json::Array out;
    for (const auto& key : keys) out.push_back(key_to_json(key));
    return json::Value(std::move(out));
}

Result<json::Value> Operations::key_revoke(Invocation& call) {
    OSTAL_TRY(const std::string word, call.text("id"));
    OSTAL_TRY(const auto id, security::parse_id(security::IdKind::kKey, word));
    OSTAL_TRYV(call.vault->keys.revoke(call.caller.tenant, id));
    OSTAL_TRY(const auto key, call.vault->keys.find(call.caller.tenant, id));
    return key_to_json(key);
}

}  // namespace ostal
