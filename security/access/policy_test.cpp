#include "security/access/policy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ostal::security {
namespace {

Id id_of(std::uint8_t n) {
    Id id{};
    id.fill(n);
    return id;
}
const Id kAlice = id_of(1);
const Id kBob = id_of(2);
const Id kTenantA = id_of(10);
const Id kTenantB = id_of(11);
const Id kProjectA = id_of(20);
const Id kProjectA2 = id_of(21);

Subject user(std::vector<Role> roles, std::uint32_t approvals = 2) {
    Subject subject;
    subject.id = kAlice;
    subject.approvals_required = approvals;
    for (const Role role : roles) subject.roles.push_back({role, kTenantA, kProjectA});
    return subject;
}

Subject api_key() {
    Subject subject = user({Role::kApiClient});
    subject.kind = Subject::Kind::kApiKey;
    return subject;
}

// An object of the kind that the action is asked of, in Alice's tenant and project, hers, granted.
Object fitting(Permission action) {
    Object object;
    object.tenant = kTenantA;
    object.project = kProjectA;
    const std::string_view name = permission_name(action);
    if (name.starts_with("inference:")) {
        object.kind = Object::Kind::kModelGrant;
        object.model = "ostal-mini";
        object.granted = true;
    } else if (name.starts_with("conversation:")) {
        object.kind = Object::Kind::kContent;
        object.owner = kAlice;
    } else if (name.starts_with("user:") || name.starts_with("role:")) {
        object.kind = Object::Kind::kUser;
        object.id = kBob;
        object.assigned_role = Role::kProjectMember;
    }
    return object;
}

TEST(Policy, EveryRoleTimesEveryPermissionOnItsOwnObjects) {
    for (std::size_t r = 0; r < kRoleCount; ++r) {
        const auto role = static_cast<Role>(r);
        Subject subject = role == Role::kApiClient ? api_key() : user({role}, 1);
        for (std::size_t p = 0; p < kPermissionCount; ++p) {
            const auto action = static_cast<Permission>(p);
            if (role == Role::kApiClient) subject.scopes = {action};
            const Decision decision = may(subject, action, fitting(action));
            EXPECT_EQ(decision.allow, role_has(role, action))
                << role_name(role) << " " << permission_name(action);
            EXPECT_EQ(decision.policy_version, kPolicyVersion);
            if (decision.allow)
                EXPECT_EQ(decision.role, role);
            else
                EXPECT_EQ(decision.reason, "no-role");
        }
    }
}

TEST(Policy, AKeyReadsMetricsOnlyWhenItsScopesSayIt) {
    Subject key = api_key();
    const Object object = fitting(Permission::kMetricsRead);
    EXPECT_EQ(may(key, Permission::kMetricsRead, object).reason, "key-scope");
    EXPECT_TRUE(may(key, Permission::kModelList, object).allow);
    key.scopes = {Permission::kMetricsRead};
    EXPECT_TRUE(may(key, Permission::kMetricsRead, object).allow);
    EXPECT_EQ(may(key, Permission::kModelList, object).reason, "key-scope");
}

TEST(Policy, NobodyAndUnknownPermissionsAreDenied) {
    for (std::size_t p = 0; p < kPermissionCount; ++p) {
        const auto action = static_cast<Permission>(p);
        EXPECT_FALSE(may(user({}), action, fitting(action)).allow);
    }
    const Decision unknown = may(user({Role::kOwner}, 1), "universe:erase", Object{});
    EXPECT_FALSE(unknown.allow);
    EXPECT_EQ(unknown.reason, "unknown-permission");
    EXPECT_TRUE(may(user({Role::kSysadmin}), "config:write", Object{}).allow);
}

TEST(Policy, ADisabledSubjectMayNothing) {
    Subject subject = user({Role::kOwner}, 1);
    subject.disabled = true;
    EXPECT_EQ(may(subject, Permission::kConfigRead, Object{}).reason, "disabled");
}

TEST(Policy, TenantAndProjectRolesEndAtTheirBorder) {
    for (const Role role : {Role::kTenantAdmin, Role::kProjectMember}) {
        for (const Permission action : role_permissions(role)) {
            Object other = fitting(action);
            other.tenant = kTenantB;
            EXPECT_FALSE(may(user({role}), action, other).allow) << permission_name(action);
            other.tenant = kNoId;
            EXPECT_FALSE(may(user({role}), action, other).allow) << permission_name(action);
            Object sibling = fitting(action);
            sibling.project = kProjectA2;
            EXPECT_EQ(may(user({role}), action, sibling).allow, role == Role::kTenantAdmin)
                << permission_name(action);
        }
    }
    Subject nowhere = user({});
    nowhere.roles.push_back({Role::kTenantAdmin, kNoId, kNoId});
    Object instance;
    EXPECT_FALSE(may(nowhere, Permission::kUserRead, instance).allow);
    nowhere.roles = {{Role::kProjectMember, kTenantA, kNoId}};
    Object no_project = fitting(Permission::kInferenceChat);
    no_project.project = kNoId;
    EXPECT_FALSE(may(nowhere, Permission::kInferenceChat, no_project).allow);
}

TEST(Policy, OwnerHasTheReachOfHisParts) {
    const Subject owner = user({Role::kOwner}, 1);
    Object elsewhere = fitting(Permission::kInferenceChat);
    elsewhere.tenant = kTenantB;
    EXPECT_FALSE(may(owner, Permission::kInferenceChat, elsewhere).allow);  // project-member of default
    Object key = fitting(Permission::kKeyCreate);
    key.tenant = kTenantB;
    EXPECT_FALSE(may(owner, Permission::kKeyCreate, key).allow);  // tenant-admin of default
    EXPECT_TRUE(may(owner, Permission::kKeyRevoke, key).allow);   // security-officer, anywhere
    EXPECT_FALSE(may(owner, Permission::kAuditConfig, Object{}).allow);
    EXPECT_FALSE(may(owner, Permission::kBreakglassUse, Object{}).allow);
    // The role is nothing once two approvals are asked for.
    for (std::size_t p = 0; p < kPermissionCount; ++p) {
        const auto action = static_cast<Permission>(p);
        EXPECT_FALSE(may(user({Role::kOwner}, 2), action, fitting(action)).allow);
    }
}

TEST(Policy, ContentIsItsOwnersAlone) {
    Object content = fitting(Permission::kConversationRead);
    EXPECT_TRUE(may(user({Role::kProjectMember}), Permission::kConversationRead, content).allow);
    content.owner = kBob;
    for (std::size_t r = 0; r < kRoleCount; ++r) {
        const auto role = static_cast<Role>(r);
        for (std::size_t p = 0; p < kPermissionCount; ++p) {
            EXPECT_FALSE(may(user({role}, 1), static_cast<Permission>(p), content).allow) << role_name(role);
        }
    }
    EXPECT_EQ(may(user({Role::kOwner}, 1), Permission::kConversationRead, content).reason, "not-owner");
    content.owner = kNoId;
    EXPECT_EQ(may(user({Role::kProjectMember}), Permission::kConversationRead, content).reason, "not-owner");
}

TEST(Policy, InferenceNeedsTheGrantAndTheKindThatShowsIt) {
    Object object = fitting(Permission::kInferenceChat);
    object.granted = false;
    EXPECT_EQ(may(user({Role::kProjectMember}), Permission::kInferenceChat, object).reason, "not-granted");
    object = fitting(Permission::kInferenceChat);
    for (const auto kind : {Object::Kind::kInstance, Object::Kind::kTenant, Object::Kind::kProject,
                            Object::Kind::kKey, Object::Kind::kUser, Object::Kind::kContent}) {
        object.kind = kind;
        EXPECT_EQ(may(user({Role::kProjectMember}), Permission::kInferenceChat, object).reason,
                  "wrong-object");
    }
    object = fitting(Permission::kConversationRead);
    object.kind = Object::Kind::kProject;
    EXPECT_EQ(may(user({Role::kProjectMember}), Permission::kConversationRead, object).reason,
              "wrong-object");
}

TEST(Policy, AKeyIsAnApiClientWithinItsScopesAndModels) {
    Subject key = api_key();
    const Object object = fitting(Permission::kInferenceChat);
    EXPECT_TRUE(may(key, Permission::kInferenceChat, object).allow);
    key.scopes = {Permission::kInferenceEmbed};
    EXPECT_EQ(may(key, Permission::kInferenceChat, object).reason, "key-scope");
    EXPECT_TRUE(may(key, Permission::kInferenceEmbed, object).allow);
    key.scopes = {Permission::kInferenceChat, Permission::kConfigWrite};
    EXPECT_FALSE(may(key, Permission::kConfigWrite, Object{}).allow);
    key.models = {"another"};
    EXPECT_EQ(may(key, Permission::kInferenceChat, object).reason, "not-granted");
    key.models = {"another", "ostal-mini"};
    EXPECT_TRUE(may(key, Permission::kInferenceChat, object).allow);
    // Roles of persons do nothing for a key, and api-client nothing for a person.
    key.roles = {{Role::kSysadmin, kTenantA, kProjectA}};
    EXPECT_FALSE(may(key, Permission::kConfigWrite, Object{}).allow);
    EXPECT_FALSE(may(user({Role::kApiClient}), Permission::kInferenceChat, object).allow);
}

TEST(Policy, LocalRootHasItsListAndNoContent) {
    Subject root;
    root.kind = Subject::Kind::kLocalRoot;
    std::size_t allowed = 0;
    for (std::size_t p = 0; p < kPermissionCount; ++p) {
        const auto action = static_cast<Permission>(p);
        if (may(root, action, fitting(action)).allow) ++allowed;
    }
    EXPECT_EQ(allowed, local_root_permissions().size());
    EXPECT_FALSE(may(root, Permission::kModelApprove, Object{}).allow);
    // One-person sites: he acts as the owner.
    root.approvals_required = 1;
    root.roles = {{Role::kOwner, kTenantA, kProjectA}};
    EXPECT_TRUE(may(root, Permission::kModelApprove, Object{}).allow);
    EXPECT_FALSE(may(root, Permission::kConversationRead, fitting(Permission::kConversationRead)).allow);
}

TEST(Policy, TheSamePersonDoesNotDoBothSteps) {
    for (const SeparationPair& pair : separation_pairs()) {
        // Somebody who holds everything by a fault of assignment is still stopped at the action.
        const Subject both = user({Role::kSysadmin, Role::kSecurityOfficer, Role::kModelOperator});
        for (const auto& [done, next] :
             {std::pair{pair.first, pair.second}, std::pair{pair.second, pair.first}}) {
            Object object = fitting(next);
            object.assigned_role = Role::kProjectMember;
            object.history = {{done, kAlice}};
            EXPECT_EQ(may(both, next, object).reason, "separation")
                << permission_name(done) << " then " << permission_name(next);
            object.history = {{done, kBob}};
            EXPECT_TRUE(may(both, next, object).allow) << permission_name(next);
            object.history = {{done, kAlice}};
            if (role_has(Role::kOwner, next)) {
                EXPECT_TRUE(may(user({Role::kOwner}, 1), next, object).allow);
            }
        }
    }
}

TEST(Policy, NobodyGivesRolesToHimself) {
    Object self = fitting(Permission::kRoleAssign);
    self.id = kAlice;
    EXPECT_EQ(may(user({Role::kSecurityOfficer}), Permission::kRoleAssign, self).reason, "self");
    EXPECT_EQ(may(user({Role::kTenantAdmin}), Permission::kRoleAssign, self).reason, "self");
    EXPECT_TRUE(may(user({Role::kOwner}, 1), Permission::kRoleAssign, self).allow);
}

TEST(Policy, ATenantAdminReachesOnlyTenantRolesAndTenantUsers) {
    const Subject admin = user({Role::kTenantAdmin});
    for (std::size_t r = 0; r < kRoleCount; ++r) {
        Object object = fitting(Permission::kRoleAssign);
        object.assigned_role = static_cast<Role>(r);
        EXPECT_EQ(may(admin, Permission::kRoleAssign, object).allow,
                  role_scope(static_cast<Role>(r)) != RoleScope::kInstance);
        Object target = fitting(Permission::kUserReset);
        target.held_roles = {static_cast<Role>(r)};
        EXPECT_EQ(may(admin, Permission::kUserReset, target).allow,
                  static_cast<Role>(r) == Role::kTenantAdmin || static_cast<Role>(r) == Role::kProjectMember)
            << role_name(static_cast<Role>(r));
    }
    Object nothing = fitting(Permission::kRoleAssign);
    nothing.assigned_role.reset();
    EXPECT_FALSE(may(admin, Permission::kRoleAssign, nothing).allow);
}

TEST(Policy, AResetDoesNotLendTheOtherDuty) {
    Object officer = fitting(Permission::kUserReset);
    officer.held_roles = {Role::kSecurityOfficer};
    EXPECT_EQ(may(user({Role::kSysadmin}), Permission::kUserReset, officer).reason, "protected-user");
    EXPECT_TRUE(may(user({Role::kSecurityOfficer}), Permission::kUserReset, officer).allow);
    Object admin = fitting(Permission::kUserReset);
    admin.held_roles = {Role::kSysadmin, Role::kModelOperator};
    EXPECT_EQ(may(user({Role::kSecurityOfficer}), Permission::kUserReset, admin).reason, "protected-user");
    EXPECT_TRUE(may(user({Role::kOwner}, 1), Permission::kUserReset, admin).allow);
}

TEST(Policy, AssignmentsAreChecked) {
    const std::vector<Role> administrator = {Role::kSysadmin};
    EXPECT_TRUE(check_assignment(administrator, Role::kModelOperator, 2));
    EXPECT_TRUE(check_assignment(administrator, Role::kProjectMember, 2));
    EXPECT_EQ(check_assignment(administrator, Role::kSecurityOfficer, 2).error().code(), Code::kConflict);
    EXPECT_EQ(check_assignment(administrator, Role::kAuditor, 2).error().code(), Code::kConflict);
    EXPECT_EQ(check_assignment({}, Role::kOwner, 2).error().code(), Code::kConflict);
    EXPECT_TRUE(check_assignment({}, Role::kOwner, 1));
    EXPECT_EQ(check_assignment({}, Role::kApiClient, 1).error().code(), Code::kUnprocessable);
}

}  // namespace
}  // namespace ostal::security
