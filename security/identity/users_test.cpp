#include "security/identity/users.h"

#include "security/identity/rows.h"
#include "security/identity/test_support.h"

namespace ostal::security {
namespace {

class UsersTest : public IdentityTest {};

TEST_F(UsersTest, SetupForOnePerson) {
    const SetupResult made = set_up(true);
    EXPECT_EQ(made.tenant.name, "default");
    EXPECT_EQ(made.project.name, "default");
    Users store = users();
    EXPECT_EQ(store.approvals_required().value(), 1U);
    const User owner = store.authenticate("Root-Of-All", "correct horse battery").value();
    ASSERT_EQ(owner.roles.size(), 1U);
    EXPECT_EQ(owner.roles[0].role, Role::kOwner);
    EXPECT_EQ(owner.roles[0].project, made.project.id);
    const Subject subject = store.subject(owner).value();
    EXPECT_TRUE(may(subject, "config:write", Object{}).allow);
    EXPECT_TRUE(check_identity(*database_, mac_));
}

TEST_F(UsersTest, SetupForThree) {
    const SetupResult made = set_up(false);
    ASSERT_EQ(made.users.size(), 3U);
    Users store = users();
    EXPECT_EQ(store.approvals_required().value(), 2U);
    const User admin = store.find(made.users[0].id).value();
    ASSERT_EQ(admin.roles.size(), 2U);
    EXPECT_EQ(store.find(made.users[1].id)->roles[0].role, Role::kSecurityOfficer);
    EXPECT_EQ(store.find(made.users[2].id)->roles[0].role, Role::kSecurityOfficer);
    EXPECT_EQ(store.list_all()->size(), 3U);
}

TEST_F(UsersTest, SetupHappensOnceAndWholly) {
    SetupRequest request;
    request.users = {
        {"a", "correct horse battery"}, {"b", "correct horse battery"}, {"A", "correct horse battery"}};
    EXPECT_EQ(set_up_identity(request, *database_, mac_, clock_, random_, kCheap).error().code(),
              Code::kUnprocessable);
    EXPECT_TRUE(tenants().list_tenants()->empty());
    request.users.pop_back();
    EXPECT_FALSE(set_up_identity(request, *database_, mac_, clock_, random_, kCheap));
    request.users = {{"a", "short"}};
    request.single = true;
    EXPECT_FALSE(set_up_identity(request, *database_, mac_, clock_, random_, kCheap));
    set_up(true);
    request.users = {{"b", "correct horse battery"}};
    EXPECT_EQ(set_up_identity(request, *database_, mac_, clock_, random_, kCheap).error().code(),
              Code::kConflict);
    EXPECT_EQ(users().list_all()->size(), 1U);
}

TEST_F(UsersTest, AllWrongSignInsLookTheSame) {
    const SetupResult made = set_up(false);
    Users store = users();
    const User plain = store.create(made.tenant.id, "plain", "").value();
    const User off = store.create(made.tenant.id, "off", "correct horse battery").value();
    ASSERT_TRUE(store.set_disabled(off.id, true));
    const Tenant other = tenants().create_tenant("other").value();
    ASSERT_TRUE(store.create(other.id, "elsewhere", "correct horse battery"));
    ASSERT_TRUE(store.authenticate("elsewhere", "correct horse battery"));
    ASSERT_TRUE(tenants().set_tenant_disabled(other.id, true));
    std::string message;
    const std::vector<std::pair<std::string, std::string>> wrong = {{"root-of-all", "wrong horse battery"},
                                                                    {"nobody", "correct horse battery"},
                                                                    {"plain", ""},
                                                                    {"plain", "correct horse battery"},
                                                                    {"off", "correct horse battery"},
                                                                    {"", ""},
                                                                    {"elsewhere", "correct horse battery"},
                                                                    {"root-of-all", std::string(65'536, 'x')},
                                                                    {std::string(65'536, 'x'), "x"},
                                                                    {"a\nb", "correct horse battery"}};
    for (const auto& [name, password] : wrong) {
        const auto result = store.authenticate(name, password);
        ASSERT_FALSE(result) << name.substr(0, 20);
        EXPECT_EQ(result.error().code(), Code::kUnauthenticated);
        if (message.empty()) message = result.error().to_string();
        EXPECT_EQ(result.error().to_string(), message);
    }
}

TEST_F(UsersTest, NamesAreUniqueWithoutCase) {
    const SetupResult made = set_up(true);
    Users store = users();
    ASSERT_TRUE(store.create(made.tenant.id, "Ada", ""));
    EXPECT_EQ(store.create(made.tenant.id, "aDA", "").error().code(), Code::kConflict);
    EXPECT_EQ(store.create(made.tenant.id, "x\ny", "").error().code(), Code::kUnprocessable);
    EXPECT_EQ(store.create(made.tenant.id, "bob", "short").error().code(), Code::kUnprocessable);
    EXPECT_EQ(store.create(kNoId, "bob", "").error().code(), Code::kNotFound);
    EXPECT_EQ(store.find_by_name("ADA")->name, "Ada");
}

TEST_F(UsersTest, AnotherTenantsUserIsNotFound) {
    const SetupResult made = set_up(true);
    Users store = users();
    const Tenant other = tenants().create_tenant("other").value();
    const User ada = store.create(other.id, "ada", "").value();
    EXPECT_EQ(store.find_in(made.tenant.id, ada.id).error().code(), Code::kNotFound);
    EXPECT_TRUE(store.find_in(other.id, ada.id));
    EXPECT_EQ(store.list(other.id)->size(), 1U);
}

TEST_F(UsersTest, PasswordsChangeAndWeakHashesAreRaisedAtSignIn) {
    const SetupResult made = set_up(true);
    ASSERT_TRUE(users().set_password(made.users[0].id, "a new long password"));
    EXPECT_TRUE(users().authenticate("root-of-all", "a new long password"));
    EXPECT_FALSE(users().authenticate("root-of-all", "correct horse battery"));
    const auto stored = [&] {
        Transaction transaction = database_->begin_read().value();
        return IdentityRows(transaction, mac_).users("name_key = 'root-of-all'")->front().password;
    };
    const std::string weak = stored();
    // A hash below the least cost is refused, as one edited in would be. So the cost is raised by memory
    // alone here, with 16 MiB and two passes as the least that is ever read.
    const Argon2Cost least{2, 16ULL << 20};
    const Argon2Cost more{2, 17ULL << 20};
    Users old(*database_, mac_, clock_, random_, least);
    EXPECT_EQ(old.authenticate("root-of-all", "a new long password").error().code(), Code::kIntegrity);
    ASSERT_TRUE(old.set_password(made.users[0].id, "a new long password"));
    const std::string before = stored();
    Users now(*database_, mac_, clock_, random_, more);
    EXPECT_FALSE(now.authenticate("root-of-all", "a wrong long password"));
    EXPECT_EQ(stored(), before);
    EXPECT_TRUE(now.authenticate("root-of-all", "a new long password"));
    EXPECT_EQ(password_hash_cost(stored()).value(), more);
    EXPECT_TRUE(now.authenticate("root-of-all", "a new long password"));
    EXPECT_TRUE(check_identity(*database_, mac_));
}

TEST_F(UsersTest, RolesAreGivenWithinTheRules) {
    const SetupResult made = set_up(false);
    Users store = users();
    const User ada = store.create(made.tenant.id, "ada", "correct horse battery").value();
    ASSERT_TRUE(store.assign_role(ada.id, {Role::kSysadmin, kNoId, kNoId}));
    ASSERT_TRUE(store.assign_role(ada.id, {Role::kSysadmin, kNoId, kNoId}));  // already
    EXPECT_EQ(store.find(ada.id)->roles.size(), 1U);
    EXPECT_EQ(store.assign_role(ada.id, {Role::kSecurityOfficer, kNoId, kNoId}).error().code(),
              Code::kConflict);
    EXPECT_EQ(store.assign_role(ada.id, {Role::kAuditor, kNoId, kNoId}).error().code(), Code::kConflict);
    EXPECT_EQ(store.assign_role(ada.id, {Role::kOwner, made.tenant.id, made.project.id}).error().code(),
              Code::kConflict);
    EXPECT_EQ(store.assign_role(ada.id, {Role::kApiClient, made.tenant.id, made.project.id}).error().code(),
              Code::kUnprocessable);
    EXPECT_EQ(store.assign_role(ada.id, {Role::kModelOperator, made.tenant.id, kNoId}).error().code(),
              Code::kUnprocessable);
    EXPECT_EQ(store.assign_role(ada.id, {Role::kProjectMember, made.tenant.id, kNoId}).error().code(),
              Code::kUnprocessable);
    EXPECT_EQ(
        store.assign_role(ada.id, {Role::kProjectMember, made.tenant.id, made.tenant.id}).error().code(),
        Code::kNotFound);
    ASSERT_TRUE(store.assign_role(ada.id, {Role::kProjectMember, made.tenant.id, made.project.id}));
    // Another tenant's user: only roles of that tenant, none of the instance.
    const Tenant other = tenants().create_tenant("other").value();
    const User eve = store.create(other.id, "eve", "correct horse battery").value();
    EXPECT_FALSE(store.assign_role(eve.id, {Role::kSysadmin, kNoId, kNoId}));
    EXPECT_FALSE(store.assign_role(eve.id, {Role::kTenantAdmin, made.tenant.id, kNoId}));
    EXPECT_FALSE(store.assign_role(eve.id, {Role::kProjectMember, made.tenant.id, made.project.id}));
    EXPECT_TRUE(store.assign_role(eve.id, {Role::kTenantAdmin, other.id, kNoId}));
    EXPECT_TRUE(check_identity(*database_, mac_));
}

TEST_F(UsersTest, TheLastAdministratorsStay) {
    const SetupResult made = set_up(false);
    Users store = users();
    const RoleAssignment sysadmin{Role::kSysadmin, kNoId, kNoId};
    const RoleAssignment officer{Role::kSecurityOfficer, kNoId, kNoId};
    EXPECT_EQ(store.set_disabled(made.users[0].id, true).error().code(), Code::kConflict);
    EXPECT_EQ(store.withdraw_role(made.users[0].id, sysadmin).error().code(), Code::kConflict);
    EXPECT_EQ(store.withdraw_role(made.users[0].id, officer).error().code(), Code::kNotFound);
    ASSERT_TRUE(store.set_disabled(made.users[1].id, true));
    EXPECT_EQ(store.set_disabled(made.users[2].id, true).error().code(), Code::kConflict);
    EXPECT_EQ(store.withdraw_role(made.users[2].id, officer).error().code(), Code::kConflict);
    EXPECT_FALSE(store.find(made.users[2].id)->disabled);
    // A user without a password could not take over.
    const User ada = store.create(made.tenant.id, "ada", "").value();
    ASSERT_TRUE(store.assign_role(ada.id, sysadmin));
    EXPECT_EQ(store.withdraw_role(made.users[0].id, sysadmin).error().code(), Code::kConflict);
    ASSERT_TRUE(store.set_password(ada.id, "correct horse battery"));
    ASSERT_TRUE(store.withdraw_role(made.users[0].id, sysadmin));
    EXPECT_EQ(store.find(made.users[0].id)->roles.size(), 1U);
    EXPECT_EQ(store.set_disabled(ada.id, true).error().code(), Code::kConflict);
    EXPECT_TRUE(check_identity(*database_, mac_));
}

TEST_F(UsersTest, TwoApprovalsNeedThreePeople) {
    const SetupResult made = set_up(true);
    Users store = users();
    EXPECT_EQ(store.set_disabled(made.users[0].id, true).error().code(),
              Code::kConflict);  // he is the last of both
    EXPECT_EQ(store.set_approvals_required(2).error().code(), Code::kConflict);
    EXPECT_EQ(store.set_approvals_required(3).error().code(), Code::kUnprocessable);
    const auto add = [&](const char* name, Role role) {
        const User user = store.create(made.tenant.id, name, "correct horse battery").value();
        ASSERT_TRUE(store.assign_role(user.id, {role, kNoId, kNoId}));
    };
    add("one", Role::kSecurityOfficer);
    add("two", Role::kSecurityOfficer);
    EXPECT_EQ(store.set_approvals_required(2).error().code(), Code::kConflict);
    add("three", Role::kSysadmin);
    ASSERT_TRUE(store.set_approvals_required(2));
    const Subject owner = store.subject(store.find(made.users[0].id).value()).value();
    EXPECT_FALSE(may(owner, "config:read", Object{}).allow);  // the role is nothing now
}

// Offline edits of the file: each is refused when the rows are read, or at the check of the next unseal.
TEST_F(UsersTest, EditsOfTheFileAreSeen) {
    const SetupResult made = set_up(false);
    const User ada = users().create(made.tenant.id, "ada", "correct horse battery").value();
    ASSERT_TRUE(users().assign_role(ada.id, {Role::kProjectMember, made.tenant.id, made.project.id}));
    ASSERT_TRUE(tenants().grant_model(made.tenant.id, made.project.id, "ostal-mini"));
    ASSERT_TRUE(check_identity(*database_, mac_));
    database_.reset();
    std::filesystem::copy_file(path(), folder_ + "/good.db");
    const auto put_back = [&] {
        database_.reset();
        std::filesystem::remove(path() + "-wal");
        std::filesystem::remove(path() + "-shm");
        std::filesystem::copy_file(folder_ + "/good.db", path(),
                                   std::filesystem::copy_options::overwrite_existing);
        reopen();
    };
    put_back();
    const std::vector<std::string> edits = {
        "UPDATE role_assignments SET role = 'sysadmin', tenant = zeroblob(16), project = zeroblob(16) "
        "WHERE role = 'project-member'",
        "INSERT INTO role_assignments SELECT randomblob(16), (SELECT id FROM users WHERE name = 'ada'), "
        "role, tenant, "
        "project, created_us, withdrawn_us, mac FROM role_assignments WHERE role = 'sysadmin'",
        "UPDATE role_assignments SET user = (SELECT id FROM users WHERE name = 'ada') WHERE role = "
        "'sysadmin'",
        "UPDATE users SET password = (SELECT password FROM users WHERE name = 'ada') WHERE name = "
        "'root-of-all'",
        "UPDATE users SET name = 'eve', name_key = 'eve' WHERE name = 'ada'",
        "UPDATE users SET disabled = 1 WHERE name = 'officer-one'",
        "DELETE FROM role_assignments WHERE role = 'security-officer'",
        "DELETE FROM model_grants",
        "UPDATE instance_policy SET approvals = 1",
        "UPDATE tenants SET disabled = 1",
        "UPDATE projects SET name = 'x', name_key = 'x'",
        "UPDATE model_grants SET model = 'another'",
        "DELETE FROM table_macs WHERE name = 'users'",
        "UPDATE table_macs SET mac = zeroblob(32) WHERE name = 'role_assignments'",
    };
    for (const std::string& edit : edits) {
        tamper("PRAGMA foreign_keys = OFF; " + edit);
        const auto checked = check_identity(*database_, mac_);
        ASSERT_FALSE(checked) << edit;
        EXPECT_EQ(checked.error().code(), Code::kIntegrity) << edit;
        put_back();
        ASSERT_TRUE(check_identity(*database_, mac_));
    }
    // At run time as well: the row that would make ada an administrator is no role but an error.
    tamper(edits[1]);
    EXPECT_EQ(users().find(ada.id).error().code(), Code::kIntegrity);
    EXPECT_EQ(users().authenticate("ada", "correct horse battery").error().code(), Code::kIntegrity);
}

TEST_F(UsersTest, AWithdrawnRoleBroughtBackIsSeen) {
    const SetupResult made = set_up(false);
    const User ada = users().create(made.tenant.id, "ada", "correct horse battery").value();
    const RoleAssignment sysadmin{Role::kSysadmin, kNoId, kNoId};
    ASSERT_TRUE(users().assign_role(ada.id, sysadmin));
    tamper(
        "CREATE TABLE kept AS SELECT * FROM role_assignments WHERE 0; INSERT INTO kept SELECT * FROM "
        "role_assignments");
    ASSERT_TRUE(users().withdraw_role(ada.id, sysadmin));
    ASSERT_TRUE(check_identity(*database_, mac_));
    tamper(
        "UPDATE role_assignments SET (withdrawn_us, mac) = "
        "(SELECT withdrawn_us, mac FROM kept WHERE kept.id = role_assignments.id)");
    EXPECT_EQ(check_identity(*database_, mac_).error().code(), Code::kIntegrity);
}

TEST_F(UsersTest, AnotherInstancesKeyOpensNothing) {
    set_up(true);
    const RowMac other{Secret<32>()};
    Users store(*database_, other, clock_, random_, kCheap);
    EXPECT_EQ(store.authenticate("root-of-all", "correct horse battery").error().code(), Code::kIntegrity);
}

}  // namespace
}  // namespace ostal::security
