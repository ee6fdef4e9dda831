// The audit log's keys as the keystore holds them.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "security/audit/keys.h"
#include "security/storage/keyring.h"

namespace ostal {

// `instance` names the origin: <instance>.ostal/audit. `keyring` outlives the keys. kUnavailable while sealed.
Result<std::unique_ptr<security::AuditKeys>> keyring_audit_keys(security::Keyring& keyring, const std::string& instance);

}  // namespace ostal
