// may(subject, action, object): the one function that decides. Pure: no clock, no database, no state.
//
// Deny by default. The caller (one gate in front of every route and command) gathers the facts; nothing
// else in the product compares roles. The decision, its reason and kPolicyVersion go into the audit record.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "security/access/roles.h"
#include "security/storage/ids.h"

namespace ostal::security {

inline constexpr Id kNoId{};

struct RoleAssignment {
    Role role = Role::kProjectMember;
    Id tenant = kNoId;   // set for tenant and project roles
    Id project = kNoId;  // set for project roles
};

struct Subject {
    enum class Kind { kUser, kApiKey, kLocalRoot };
    Kind kind = Kind::kUser;
    Id id = kNoId;  // user or key
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
    Id actor;
};

struct Object {
    enum class Kind {
        kInstance,  // the appliance itself: configuration, TLS, models, audit, crypto
        kTenant,
        kProject,
        kModelGrant,  // a model as a project may use it; `granted` says whether the project has it
        kKey,
        kUser,
        kContent,  // conversation, message, file: belongs to `owner`
    };
    Kind kind = Kind::kInstance;
    Id id = kNoId;
    Id tenant = kNoId;
    Id project = kNoId;
    Id owner = kNoId;                   // kContent: whose it is
    std::string model;                  // kModelGrant: name
    bool granted = false;               // kModelGrant
    std::vector<Role> held_roles;       // kUser: the roles of the user acted on
    std::optional<Role> assigned_role;  // role:assign: the role given or withdrawn
    std::vector<Step> history;  // stage, approve, activate: earlier steps on the same version or change
};

struct Decision {
    bool allow = false;
    // Closed set, safe to record: "role" (allowed); "no-role", "disabled", "key-scope", "not-granted",
    // "not-owner", "separation", "self", "protected-user", "wrong-object",
    // "unknown-permission".
    std::string_view reason;
    std::optional<Role> role;  // the role that admitted it
    std::uint32_t policy_version = kPolicyVersion;
};

// Beyond roles and their reach:
// - inference:* is asked of a kModelGrant, conversation:* of kContent; any other kind is refused.
// - kContent belongs to its owner alone, whatever the roles.
// - A kModelGrant needs `granted`, and for a key with a list of models the model on it.
// - role:assign never on oneself; instance roles are given by who holds role:assign for the instance.
// - reset, disable and erase of a user are refused to a tenant-admin when the user holds an instance role,
//   and
//   to everybody whose own roles conflict with a role of the user (a reset would lend him the other duty).
// - A step is refused to who made the separated step before (Object::history).
// The last three and `self` do not bind an owner while approvals.required is 1.
Decision may(const Subject& subject, Permission action, const Object& object);
// An unknown permission name is denied.
Decision may(const Subject& subject, std::string_view action, const Object& object);

// Whether `added` may join `held` on one person: kConflict names the pair. `approvals_required` 1 is asked
// for kOwner; kApiClient is never assignable.
Status check_assignment(std::span<const Role> held, Role added, std::uint32_t approvals_required);

}  // namespace ostal::security
