// Roles and permissions as data: who may do what by role. policy.h decides.
//
// Permissions are `resource:verb`. Roles are those of the table in roles.cpp and no others; what a role
// lacks is denied. Changing a row means a new kPolicyVersion (a test pins the table to it).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ostal::security {

// Recorded with each decision.
inline constexpr std::uint32_t kPolicyVersion = 1;

enum class Permission : std::uint8_t {
    kInferenceChat,
    kInferenceComplete,
    kInferenceEmbed,
    kConversationRead,
    kConversationWrite,
    kConversationDelete,
    kModelList,
    kModelImport,
    kModelStage,
    kModelApprove,
    kModelActivate,
    kModelRollback,
    kModelRetire,
    kModelGrant,
    kEngineConfigure,
    kUpdateStage,
    kUpdateApprove,
    kUpdateActivate,
    kUpdateRollback,
    kUserRead,
    kUserCreate,
    kUserDisable,
    kUserReset,
    kUserErase,
    kRoleRead,
    kRoleAssign,
    kRoleDefine,
    kKeyCreate,
    kKeyList,
    kKeyRevoke,
    kTenantRead,
    kTenantCreate,
    kTenantDisable,
    kTenantErase,
    kProjectRead,
    kProjectCreate,
    kProjectDisable,
    kQuotaRead,
    kQuotaSet,
    kAuditRead,
    kAuditExport,
    kAuditVerify,
    kAuditCosign,
    kAuditConfig,
    kCryptoUnseal,
    kCryptoSeal,
    kCryptoRotate,
    kCryptoRekey,
    kCryptoSlot,
    kTlsRead,
    kTlsIssue,
    kTlsReload,
    kConfigRead,
    kConfigWrite,
    kServiceStart,
    kServiceStop,
    kBackupCreate,
    kBackupRestore,
    kBackupApprove,
    kBreakglassRequest,
    kBreakglassGrant,
    kBreakglassUse,
    kStatusRead,
    kMetricsRead,
    kPrivacyExport,
    kPrivacyErase,
};
inline constexpr std::size_t kPermissionCount = static_cast<std::size_t>(Permission::kPrivacyErase) + 1;

enum class Role : std::uint8_t {
    kSysadmin,
    kSecurityOfficer,
    kAuditor,
    kKeyCustodian,
    kModelOperator,
    kTenantAdmin,
    kProjectMember,
    kApiClient,  // what an API key is; never assigned to a person
    kDataProtectionOfficer,
    kOwner,  // one-person sites, only while approvals.required is 1
};
inline constexpr std::size_t kRoleCount = static_cast<std::size_t>(Role::kOwner) + 1;

// How far an assignment of the role reaches.
enum class RoleScope : std::uint8_t { kInstance, kTenant, kProject };

std::string_view permission_name(Permission permission);           // "inference:chat"
std::optional<Permission> permission_from_name(std::string_view);  // nothing: unknown, deny
std::string_view role_name(Role role);                             // "security-officer"
std::optional<Role> role_from_name(std::string_view name);
RoleScope role_scope(Role role);

// The table itself: sorted by Permission.
std::span<const Permission> role_permissions(Role role);
bool role_has(Role role, Permission permission);
// The roles an owner is the sum of; kOwner's own permissions are theirs, less audit:config and breakglass:*,
// and audit:{read,verify}.
std::span<const Role> owner_roles();
// What root and the daemon's own user may do on the local socket without naming a user.
std::span<const Permission> local_root_permissions();

// Two duties that one person must not combine: by holding both (assignment) or by doing both to the same
// object (action). A pair of a permission with itself: not twice by the same person.
struct SeparationPair {
    Permission first;
    Permission second;
};
std::span<const SeparationPair> separation_pairs();
bool separated(Permission a, Permission b);

// Roles one person must not hold together: separation pairs across them, and the roles that stand alone
// (auditor, key-custodian, owner, api-client).
bool roles_conflict(Role a, Role b);

}  // namespace ostal::security
