// Who asks, as found by the gate, and the one place where a permission is asked for.
#pragma once

#include <memory>
#include <string>

#include "appliance/core/vault.h"
#include "security/access/policy.h"
#include "security/audit/log.h"

namespace ostal::api {

struct Caller {
    security::Subject subject;
    std::string actor;    // "key_...", "usr_...", "root" or "anonymous"
    std::string auth;     // "api-key", "password", "socket" or "none"
    std::string ip;
    security::Id tenant{};
    security::Id project{};
    std::string request_id;
};

// The caller's half of an audit record about `action` on `object`.
security::AuditRecord audit_record(const Caller& caller, std::string_view action, std::string object);

// Asks may(); a denial is recorded and becomes kPermissionDenied, or kNotFound when the subject may not know that
// the object exists (`hide`). An admission is returned for the caller to record with the effect.
Result<security::Decision> authorise(const Caller& caller, security::Permission permission,
                                     const security::Object& object, const std::string& object_name,
                                     security::AuditLog& audit, bool hide = false);

}  // namespace ostal::api
