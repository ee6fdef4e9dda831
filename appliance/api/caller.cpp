#include "appliance/api/caller.h"

#include "security/storage/ids.h"

namespace ostal::api {

security::AuditRecord audit_record(const Caller& caller, std::string_view action, std::string object) {
    security::AuditRecord record;
    record.id = caller.request_id;
    record.actor = caller.actor;
    record.auth = caller.auth;
    record.ip = caller.ip;
    if (caller.tenant != security::Id{}) record.tenant = security::id_text(security::IdKind::kTenant, caller.tenant);
    record.action = std::string(action);
    record.object = std::move(object);
    return record;
}

Result<security::Decision> authorise(const Caller& caller, security::Permission permission,
                                     const security::Object& object, const std::string& object_name,
                                     security::AuditLog& audit, bool hide) {
    const security::Decision decision = security::may(caller.subject, permission, object);
    if (decision.allow) return decision;
    security::AuditRecord record = audit_record(caller, security::permission_name(permission), object_name);
    record.decision = "deny";
    record.policy_version = decision.policy_version;
    record.detail = std::string(decision.reason);
    record.status = hide ? 404 : 403;
    OSTAL_TRYV(audit.append(std::move(record)));
    if (hide) return fail(Code::kNotFound, object_name + " does not exist or is not granted to this key");
    return fail(Code::kPermissionDenied, "this needs the permission " +
                                             std::string(security::permission_name(permission)) +
                                             ", which the caller does not have");
}

}  // namespace ostal::api
