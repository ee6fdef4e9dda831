// may(subject, action, object): the one function that decides. Pure: no clock, no database, no state.
//
// Deny by default. The caller (one gate in front of every route and command) gathers the facts; nothing
// else in the product compares roles. The decision, its reason and kPolicyVersion go into the audit record.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "security/access/roles.h"

namespace ostal::security {

using ObjectId = std::array<std::uint8_t, 16>;  // the random id of a user, tenant, project, key …
inline constexpr ObjectId kNoId{};

struct RoleAssignment {
    Role role = Role::kProjectMember;
    ObjectId tenant = kNoId;   // set for tenant and project roles
    ObjectId project = kNoId;  // set for project roles
};

struct Subject {
    enum class Kind { kUser, kApiKey, kLocalRoot };
    Kind kind = Kind::kUser;
    ObjectId id = kNoId;  // user or key
    bool disabled = false;
    std::vector<RoleAssignment> roles;
    std::vector<Permission> scopes;   // API key: what it may do at most; empty = all of api-client
    std::vector<std::string> models;  // API key: model names it is limited to; empty = its project's grants
    // approvals.required of the instance; 1 lets an owner follow his own steps.
    std::uint32_t approvals_required = 2;
};

// Who did an earlier step to the same object (staged it, approved it).
struct Step {
    Permission permission;
    ObjectId actor;
};

struct Object {
    enum class Kind {
        kInstance,      // the appliance itself: configuration, TLS, models, audit, crypto
        kTenant,
        kProject,
        kModelGrant,    // a model as a project may use it; `granted` says whether the project has it
        kKey,
        kUser,
        kContent,       // conversation, message, file: belongs to `owner`
    };
    Kind kind = Kind::kInstance;
    ObjectId id = kNoId;
    ObjectId tenant = kNoId;
    ObjectId project = kNoId;
    ObjectId owner = kNoId;   // kContent: whose it is
    std::string model;        // kModelGrant: name
    bool granted = false;     // kModelGrant
    // role:assign: which role is given; a tenant-admin gives only roles of his own tenant.
    std::optional<Role> assigned_role;
    std::vector<Step> history;  // stage, approve, activate: earlier steps on the same version or change
};

struct Decision {
    bool allow = false;
    // Closed set, safe to record: "role", "no-role", "disabled", "scope", "not-granted", "not-owner",
    // "separation", "self", "unknown-permission".
    std::string_view reason;
    std::optional<Role> role;  // the role that admitted it
    std::uint32_t policy_version = kPolicyVersion;
};

Decision may(const Subject& subject, Permission action, const Object& object);
// An unknown permission name is denied.
Decision may(const Subject& subject, std::string_view action, const Object& object);

// Whether `added` may join `held` on one person: kConflict names the pair. `approvals_required` 1 is
// asked for
// kOwner; kApiClient is never assignable.
Status check_assignment(std::span<const Role> held, Role added, std::uint32_t approvals_required);

}  // namespace ostal::security
