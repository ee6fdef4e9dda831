#include "security/access/roles.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"

namespace ostal::security {
namespace {

using enum Permission;

struct PermissionRow {
    Permission permission;
    std::string_view name;
};
constexpr std::array kPermissions = {
    PermissionRow{kInferenceChat, "inference:chat"},
    PermissionRow{kInferenceComplete, "inference:complete"},
    PermissionRow{kInferenceEmbed, "inference:embed"},
    PermissionRow{kConversationRead, "conversation:read"},
    PermissionRow{kConversationWrite, "conversation:write"},
    PermissionRow{kConversationDelete, "conversation:delete"},
    PermissionRow{kModelList, "model:list"},
    PermissionRow{kModelImport, "model:import"},
    PermissionRow{kModelStage, "model:stage"},
    PermissionRow{kModelApprove, "model:approve"},
    PermissionRow{kModelActivate, "model:activate"},
    PermissionRow{kModelRollback, "model:rollback"},
    PermissionRow{kModelRetire, "model:retire"},
    PermissionRow{kModelGrant, "model:grant"},
    PermissionRow{kEngineConfigure, "engine:configure"},
    PermissionRow{kUpdateStage, "update:stage"},
    PermissionRow{kUpdateApprove, "update:approve"},
    PermissionRow{kUpdateActivate, "update:activate"},
    PermissionRow{kUpdateRollback, "update:rollback"},
    PermissionRow{kUserRead, "user:read"},
    PermissionRow{kUserCreate, "user:create"},
    PermissionRow{kUserDisable, "user:disable"},
    PermissionRow{kUserReset, "user:reset"},
    PermissionRow{kUserErase, "user:erase"},
    PermissionRow{kRoleRead, "role:read"},
    PermissionRow{kRoleAssign, "role:assign"},
    PermissionRow{kRoleDefine, "role:define"},
    PermissionRow{kKeyCreate, "key:create"},
    PermissionRow{kKeyList, "key:list"},
    PermissionRow{kKeyRevoke, "key:revoke"},
    PermissionRow{kTenantRead, "tenant:read"},
    PermissionRow{kTenantCreate, "tenant:create"},
    PermissionRow{kTenantDisable, "tenant:disable"},
    PermissionRow{kTenantErase, "tenant:erase"},
    PermissionRow{kProjectRead, "project:read"},
    PermissionRow{kProjectCreate, "project:create"},
    PermissionRow{kProjectDisable, "project:disable"},
    PermissionRow{kQuotaRead, "quota:read"},
    PermissionRow{kQuotaSet, "quota:set"},
    PermissionRow{kAuditRead, "audit:read"},
    PermissionRow{kAuditExport, "audit:export"},
    PermissionRow{kAuditVerify, "audit:verify"},
    PermissionRow{kAuditCosign, "audit:cosign"},
    PermissionRow{kAuditConfig, "audit:config"},
    PermissionRow{kCryptoUnseal, "crypto:unseal"},
    PermissionRow{kCryptoSeal, "crypto:seal"},
    PermissionRow{kCryptoRotate, "crypto:rotate"},
    PermissionRow{kCryptoRekey, "crypto:rekey"},
    PermissionRow{kCryptoSlot, "crypto:slot"},
    PermissionRow{kTlsRead, "tls:read"},
    PermissionRow{kTlsIssue, "tls:issue"},
    PermissionRow{kTlsReload, "tls:reload"},
    PermissionRow{kConfigRead, "config:read"},
    PermissionRow{kConfigWrite, "config:write"},
    PermissionRow{kServiceStart, "service:start"},
    PermissionRow{kServiceStop, "service:stop"},
    PermissionRow{kBackupCreate, "backup:create"},
    PermissionRow{kBackupRestore, "backup:restore"},
    PermissionRow{kBackupApprove, "backup:approve"},
    PermissionRow{kBreakglassRequest, "breakglass:request"},
    PermissionRow{kBreakglassGrant, "breakglass:grant"},
    PermissionRow{kBreakglassUse, "breakglass:use"},
    PermissionRow{kStatusRead, "status:read"},
    PermissionRow{kMetricsRead, "metrics:read"},
    PermissionRow{kPrivacyExport, "privacy:export"},
    PermissionRow{kPrivacyErase, "privacy:erase"},
};
static_assert(kPermissions.size() == kPermissionCount);

// Network, TLS, users, backups, staging of updates, the service. Never: audit settings, approvals, roles,
// crypto, content.
constexpr std::array kSysadminMay = {
    kModelList,   kUpdateStage,  kUpdateActivate, kUpdateRollback, kUserRead,      kUserCreate,
    kUserDisable, kUserReset,    kRoleRead,       kTenantRead,     kTenantCreate,  kTenantDisable,
    kProjectRead, kQuotaRead,    kTlsRead,        kTlsIssue,       kTlsReload,     kConfigRead,
    kConfigWrite, kServiceStart, kServiceStop,    kBackupCreate,   kBackupRestore, kBreakglassRequest,
    kStatusRead,  kMetricsRead,
};
// Roles, policies, keys, approvals. Never: staging what he approves, content, deleting audit.
constexpr std::array kSecurityOfficerMay = {
    kModelList,   kModelApprove, kUpdateApprove, kUserRead,        kUserReset,   kRoleRead,
    kRoleAssign,  kRoleDefine,   kKeyList,       kKeyRevoke,       kTenantRead,  kTenantErase,
    kProjectRead, kAuditConfig,  kCryptoSeal,    kCryptoRotate,    kCryptoRekey, kCryptoSlot,
    kTlsRead,     kConfigRead,   kBackupApprove, kBreakglassGrant, kStatusRead,
};
constexpr std::array kAuditorMay = {
    kRoleRead, kAuditRead, kAuditExport, kAuditVerify, kAuditCosign, kTlsRead, kConfigRead, kStatusRead,
};
// Submits a share; has no session.
constexpr std::array kKeyCustodianMay = {kCryptoUnseal};
constexpr std::array kModelOperatorMay = {
    kModelList,   kModelImport, kModelStage,      kModelActivate, kModelRollback,
    kModelRetire, kModelGrant,  kEngineConfigure, kStatusRead,    kMetricsRead,
};
constexpr std::array kTenantAdminMay = {
    kModelList,     kUserRead,       kUserCreate, kUserDisable, kUserReset,  kRoleRead,
    kRoleAssign,    kKeyCreate,      kKeyList,    kKeyRevoke,   kTenantRead, kProjectRead,
    kProjectCreate, kProjectDisable, kQuotaRead,  kQuotaSet,
};
constexpr std::array kProjectMemberMay = {
    kInferenceChat,     kInferenceComplete,  kInferenceEmbed, kConversationRead,
    kConversationWrite, kConversationDelete, kModelList,
};
// metrics:read only where a key's scopes name it (policy.cpp): a monitoring system's key, not every
// application's.
constexpr std::array kApiClientMay = {
    kInferenceChat,     kInferenceComplete,  kInferenceEmbed, kConversationRead,
    kConversationWrite, kConversationDelete, kModelList,      kMetricsRead,
};
// Erasure and export; never content.
constexpr std::array kDataProtectionOfficerMay = {kUserErase, kPrivacyExport, kPrivacyErase};

constexpr std::array kOwnerIsAlso = {Role::kSysadmin, Role::kSecurityOfficer, Role::kModelOperator,
                                     Role::kTenantAdmin, Role::kProjectMember};
constexpr std::array kOwnerMayAlso = {kAuditRead, kAuditVerify};
constexpr std::array kOwnerMayNot = {kAuditConfig, kBreakglassRequest, kBreakglassGrant, kBreakglassUse};

constexpr std::array kLocalRootMay = {
    kAuditVerify, kCryptoUnseal, kCryptoSeal, kCryptoSlot, kBackupCreate, kStatusRead,
};

struct RoleRow {
    Role role;
    std::string_view name;
    RoleScope scope;
    std::span<const Permission> may;  // owner: computed
};
const std::array<RoleRow, kRoleCount>& role_rows() {
    static const std::array<RoleRow, kRoleCount> rows = {{
        {Role::kSysadmin, "sysadmin", RoleScope::kInstance, kSysadminMay},
        {Role::kSecurityOfficer, "security-officer", RoleScope::kInstance, kSecurityOfficerMay},
        {Role::kAuditor, "auditor", RoleScope::kInstance, kAuditorMay},
        {Role::kKeyCustodian, "key-custodian", RoleScope::kInstance, kKeyCustodianMay},
        {Role::kModelOperator, "model-operator", RoleScope::kInstance, kModelOperatorMay},
        {Role::kTenantAdmin, "tenant-admin", RoleScope::kTenant, kTenantAdminMay},
        {Role::kProjectMember, "project-member", RoleScope::kProject, kProjectMemberMay},
        {Role::kApiClient, "api-client", RoleScope::kProject, kApiClientMay},
        {Role::kDataProtectionOfficer, "data-protection-officer", RoleScope::kInstance,
         kDataProtectionOfficerMay},
        {Role::kOwner, "owner", RoleScope::kInstance, {}},
    }};
    return rows;
}

const RoleRow& row_of(Role role) {
    const RoleRow& row = role_rows().at(static_cast<std::size_t>(role));
    CHECK(row.role == role);
    return row;
}

constexpr std::array kSeparationPairs = {
    SeparationPair{kUpdateStage, kUpdateApprove},  SeparationPair{kUpdateApprove, kUpdateActivate},
    SeparationPair{kModelImport, kModelApprove},   SeparationPair{kModelStage, kModelApprove},
    SeparationPair{kModelApprove, kModelActivate}, SeparationPair{kBackupRestore, kBackupApprove},
    SeparationPair{kAuditConfig, kConfigWrite},    SeparationPair{kAuditConfig, kServiceStop},
    SeparationPair{kRoleAssign, kUserCreate},      SeparationPair{kUpdateApprove, kUpdateApprove},
    SeparationPair{kModelApprove, kModelApprove},  SeparationPair{kBackupApprove, kBackupApprove},
};

bool stands_alone(Role role) {
    return role == Role::kAuditor || role == Role::kKeyCustodian || role == Role::kOwner ||
           role == Role::kApiClient;
}

template <typename Range>
bool contains(const Range& range, Permission permission) {
    return std::find(range.begin(), range.end(), permission) != range.end();
}

std::vector<Permission> make_owner_permissions() {
    std::vector<Permission> all(kOwnerMayAlso.begin(), kOwnerMayAlso.end());
    for (const Role role : kOwnerIsAlso) {
        for (const Permission permission : row_of(role).may) {
            if (!contains(kOwnerMayNot, permission) && !contains(all, permission)) all.push_back(permission);
        }
    }
    std::sort(all.begin(), all.end());
    return all;
}

}  // namespace

std::string_view permission_name(Permission permission) {
    const PermissionRow& row = kPermissions.at(static_cast<std::size_t>(permission));
    CHECK(row.permission == permission);
    return row.name;
}

std::optional<Permission> permission_from_name(std::string_view name) {
    for (const PermissionRow& row : kPermissions) {
        if (row.name == name) return row.permission;
    }
    return std::nullopt;
}

std::string_view role_name(Role role) { return row_of(role).name; }

std::optional<Role> role_from_name(std::string_view name) {
    for (const RoleRow& row : role_rows()) {
        if (row.name == name) return row.role;
    }
    return std::nullopt;
}

RoleScope role_scope(Role role) { return row_of(role).scope; }

std::span<const Permission> role_permissions(Role role) {
    if (role == Role::kOwner) {
        static const std::vector<Permission> owner = make_owner_permissions();
        return owner;
    }
    return row_of(role).may;
}

bool role_has(Role role, Permission permission) { return contains(role_permissions(role), permission); }

std::span<const Role> owner_roles() { return kOwnerIsAlso; }

std::span<const Permission> local_root_permissions() { return kLocalRootMay; }

std::span<const SeparationPair> separation_pairs() { return kSeparationPairs; }

bool separated(Permission a, Permission b) {
    return std::any_of(kSeparationPairs.begin(), kSeparationPairs.end(), [&](const SeparationPair& pair) {
        return (pair.first == a && pair.second == b) || (pair.first == b && pair.second == a);
    });
}

bool roles_conflict(Role a, Role b) {
    if (a == b) return false;
    if (stands_alone(a) || stands_alone(b)) return true;
    // Reach matters for the pair (role:assign, user:create): a tenant-admin has both within his tenant.
    if (role_scope(a) != RoleScope::kInstance || role_scope(b) != RoleScope::kInstance) return false;
    return std::any_of(kSeparationPairs.begin(), kSeparationPairs.end(), [&](const SeparationPair& pair) {
        if (pair.first == pair.second) return false;
        return (role_has(a, pair.first) && role_has(b, pair.second)) ||
               (role_has(b, pair.first) && role_has(a, pair.second));
    });
}

}  // namespace ostal::security
