#include "security/access/policy.h"

#include <algorithm>
#include <array>

namespace ostal::security {
namespace {

Decision allow_as(std::optional<Role> role) { return {true, "role", role, kPolicyVersion}; }
Decision deny(std::string_view reason, std::optional<Role> role = {}) {
    return {false, reason, role, kPolicyVersion};
}

template <typename Range, typename Value>
bool contains(const Range& range, const Value& value) {
    return std::find(range.begin(), range.end(), value) != range.end();
}

bool is_user_step(Permission action) {
    return action == Permission::kUserReset || action == Permission::kUserDisable ||
           action == Permission::kUserErase;
}

// Whether the assignment's reach covers the object. A tenant or project role without its tenant covers
// nothing.
bool reaches(Role role, const RoleAssignment& assignment, const Object& object) {
    if (role_scope(role) == RoleScope::kInstance) return true;
    if (assignment.tenant == kNoId || object.tenant != assignment.tenant) return false;
    if (role_scope(role) == RoleScope::kTenant) return true;
    return assignment.project != kNoId && object.project == assignment.project;
}

// Why a role that has the permission and reaches the object still does not admit the action; "" when it does.
std::string_view refusal(Role role, Permission action, const Object& object) {
    if (role != Role::kTenantAdmin) return {};
    const auto is_instance_role = [](Role held) { return role_scope(held) == RoleScope::kInstance; };
    if (action == Permission::kRoleAssign) {
        if (!object.assigned_role || is_instance_role(*object.assigned_role)) return "no-role";
    }
    if (is_user_step(action) &&
        std::any_of(object.held_roles.begin(), object.held_roles.end(), is_instance_role)) {
        return "protected-user";
    }
    return {};
}

// Decides by one role alone; `named` is the role the assignment names (owner, for its parts).
Decision by_role(Role role, Role named, const RoleAssignment& assignment, Permission action,
                 const Object& object) {
    if (!role_has(named, action) || !role_has(role, action)) return deny("no-role");
    if (!reaches(role, assignment, object)) return deny("no-role");
    const std::string_view reason = refusal(role, action, object);
    return reason.empty() ? allow_as(named) : deny(reason, named);
}

Decision by_assignment(const RoleAssignment& assignment, Permission action, const Object& object) {
    if (assignment.role != Role::kOwner) {
        return by_role(assignment.role, assignment.role, assignment, action, object);
    }
    // An owner is the sum of his parts, each with its own reach, and what he may beside them.
    Decision best = deny("no-role");
    bool of_a_part = false;
    for (const Role part : owner_roles()) {
        of_a_part = of_a_part || role_has(part, action);
        const Decision decision = by_role(part, Role::kOwner, assignment, action, object);
        if (decision.allow) return decision;
        if (decision.role) best = decision;
    }
    if (!of_a_part && role_has(Role::kOwner, action)) return allow_as(Role::kOwner);
    return best;
}

// The best answer over all of the subject's roles: an admission, else the most telling refusal.
Decision by_roles(const Subject& subject, Permission action, const Object& object) {
    Decision best = deny("no-role");
    if (subject.kind == Subject::Kind::kLocalRoot && contains(local_root_permissions(), action)) {
        return allow_as(std::nullopt);
    }
    for (const RoleAssignment& assignment : subject.roles) {
        if (assignment.role == Role::kOwner && subject.approvals_required != 1) continue;
        // A key is an api-client and nothing else; a person never is one.
        if ((subject.kind == Subject::Kind::kApiKey) != (assignment.role == Role::kApiClient)) continue;
        const Decision decision = by_assignment(assignment, action, object);
        if (decision.allow) return decision;
        if (decision.role) best = decision;
    }
    return best;
}

bool is_owner(const Subject& subject) {
    return subject.approvals_required == 1 &&
           std::any_of(subject.roles.begin(), subject.roles.end(),
                       [](const RoleAssignment& held) { return held.role == Role::kOwner; });
}

// Separation of duties at the action; "" when nothing stands against it.
std::string_view separation(const Subject& subject, Permission action, const Object& object) {
    if (is_owner(subject)) return {};
    if (action == Permission::kRoleAssign && object.id == subject.id) return "self";
    for (const Step& step : object.history) {
        if (step.actor == subject.id && separated(step.permission, action)) return "separation";
    }
    if (is_user_step(action) && object.id != subject.id) {
        for (const RoleAssignment& own : subject.roles) {
            for (const Role held : object.held_roles) {
                if (roles_conflict(own.role, held)) return "protected-user";
            }
        }
    }
    return {};
}

// Inference is asked for a model grant and conversations for content, so that no caller can skip the checks
// of those kinds by naming a wider object.
bool fits(Permission action, Object::Kind kind) {
    switch (action) {
        case Permission::kInferenceChat:
        case Permission::kInferenceComplete:
        case Permission::kInferenceEmbed: return kind == Object::Kind::kModelGrant;
        case Permission::kConversationRead:
        case Permission::kConversationWrite:
        case Permission::kConversationDelete: return kind == Object::Kind::kContent;
        default: return kind != Object::Kind::kContent;
    }
}

// What a key was made for: without scopes all of api-client but metrics:read, which must be named.
bool in_scope(const Subject& key, Permission action) {
    if (key.scopes.empty()) return action != Permission::kMetricsRead;
    return contains(key.scopes, action);
}

}  // namespace

Decision may(const Subject& subject, Permission action, const Object& object) {
    if (subject.disabled) return deny("disabled");
    if (!fits(action, object.kind)) return deny("wrong-object");
    const Decision decision = by_roles(subject, action, object);
    if (!decision.allow) return decision;
    if (subject.kind == Subject::Kind::kApiKey && !in_scope(subject, action))
        return deny("key-scope", decision.role);
    if (object.kind == Object::Kind::kContent && (object.owner == kNoId || object.owner != subject.id)) {
        return deny("not-owner", decision.role);
    }
    if (object.kind == Object::Kind::kModelGrant) {
        const bool listed = subject.models.empty() || contains(subject.models, object.model);
        if (!object.granted || !listed) return deny("not-granted", decision.role);
    }
    const std::string_view reason = separation(subject, action, object);
    return reason.empty() ? decision : deny(reason, decision.role);
}

Decision may(const Subject& subject, std::string_view action, const Object& object) {
    const std::optional<Permission> permission = permission_from_name(action);
    return permission ? may(subject, *permission, object) : deny("unknown-permission");
}

Status check_assignment(std::span<const Role> held, Role added, std::uint32_t approvals_required) {
    if (added == Role::kApiClient) {
        return fail(Code::kUnprocessable, "api-client is what API keys are: it is not given to users");
    }
    if (added == Role::kOwner && approvals_required != 1) {
        return fail(Code::kConflict, "owner exists only while approvals.required is 1");
    }
    for (const Role role : held) {
        if (roles_conflict(role, added)) {
            return fail(Code::kConflict, "one person cannot be both " + std::string(role_name(role)) +
                                             " and " + std::string(role_name(added)));
        }
    }
    return {};
}

}  // namespace ostal::security
