#include "security/identity/users.h"

#include <algorithm>
#include <set>
#include <thread>

#include "security/identity/rows.h"
#include "security/storage/database.h"
#include "security/storage/row_mac.h"

namespace ostal::security {
namespace {

constexpr unsigned kMaxWaitingSignIns = 64;

tl::unexpected<Error> wrong_credentials() {
    return fail(Code::kUnauthenticated, "the name or the password is wrong");
}

Result<User> with_roles(IdentityRows& rows, const UserRow& row) {
    OSTAL_TRY(const auto held, rows.roles("user = ? AND withdrawn_us = 0 ORDER BY created_us, id", {row.id}));
    User user{row.id, row.tenant, row.name, row.disabled, row.created_us, row.password_changed_us, {}};
    for (const RoleRow& role : held) user.roles.push_back(role.assignment);
    return user;
}

Result<User> load(IdentityRows& rows, std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const UserRow row, only(rows.users(where, parameters), "user"));
    return with_roles(rows, row);
}

Result<std::vector<User>> load_all(IdentityRows& rows, std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found, rows.users(where, parameters));
    std::vector<User> users;
    for (const UserRow& row : found) {
        OSTAL_TRY(User user, with_roles(rows, row));
        users.push_back(std::move(user));
    }
    return users;
}

bool same(const RoleAssignment& a, const RoleAssignment& b) {
    return a.role == b.role && a.tenant == b.tenant && a.project == b.project;
}

// How many enabled users with a password hold a role; an owner counts for each while approvals.required is 1.
Result<std::size_t> count_usable(IdentityRows& rows, Role role, std::uint32_t approvals) {
    OSTAL_TRY(const auto users, rows.users("disabled = 0 AND password <> ''"));
    OSTAL_TRY(const auto held, rows.roles("withdrawn_us = 0"));
    std::set<Id> usable;
    for (const UserRow& user : users) usable.insert(user.id);
    std::set<Id> holders;
    for (const RoleRow& row : held) {
        const bool counts =
            row.assignment.role == role || (row.assignment.role == Role::kOwner && approvals == 1);
        if (counts && usable.contains(row.user)) holders.insert(row.user);
    }
    return holders.size();
}

// After a change within the transaction: nobody may lock everybody out.
Status require_administrators(IdentityRows& rows) {
    OSTAL_TRY(const std::uint32_t approvals, rows.approvals());
    for (const Role role : {Role::kSysadmin, Role::kSecurityOfficer}) {
        OSTAL_TRY(const std::size_t count, count_usable(rows, role, approvals));
        if (count == 0) {
            return fail(Code::kConflict, "the last " + std::string(role_name(role)) + " cannot be removed");
        }
    }
    return {};
}

// The assignment's tenant and project are those its role asks for, and exist.
Status check_form(IdentityRows& rows, const User& user, const RoleAssignment& assignment) {
    const auto refuse = [](const char* why) { return fail(Code::kUnprocessable, why); };
    const bool is_owner = assignment.role == Role::kOwner;
    const RoleScope scope = role_scope(assignment.role);
    const bool wants_tenant = is_owner || scope != RoleScope::kInstance;
    const bool wants_project = is_owner || scope == RoleScope::kProject;
    if ((assignment.tenant != kNoId) != wants_tenant || (assignment.project != kNoId) != wants_project) {
        return refuse("the role is not given with the tenant and project that it reaches to");
    }
    if (wants_tenant && assignment.tenant != user.tenant) return refuse("the role is of another tenant");
    if (wants_project) {
        OSTAL_TRYV(
            only(rows.projects("id = ? AND tenant = ?", {assignment.project, assignment.tenant}), "project"));
    }
    if (scope == RoleScope::kInstance) {
        OSTAL_TRY(const Tenant tenant, only(rows.tenants("id = ?", {user.tenant}), "tenant"));
        if (tenant.name != "default")
            return refuse("roles of the instance are given to users of the tenant default");
    }
    return {};
}

// Within the caller's transaction. Holding it already is no error.
Status add_role(IdentityRows& rows, const Id& user_id, const RoleAssignment& assignment, const Id& role_id,
                std::int64_t now_us) {
    OSTAL_TRY(const User user, load(rows, "id = ?", {user_id}));
    OSTAL_TRY(const std::uint32_t approvals, rows.approvals());
    std::vector<Role> held;
    for (const RoleAssignment& role : user.roles) {
        if (same(role, assignment)) return {};
        held.push_back(role.role);
    }
    OSTAL_TRYV(check_assignment(held, assignment.role, approvals));
    OSTAL_TRYV(check_form(rows, user, assignment));
    return rows.put(RoleRow{role_id, user_id, assignment, now_us, 0});
}

}  // namespace

Users::Users(Database& database, const RowMac& mac, const Clock& clock, RandomSource& random,
             const Argon2Cost& cost)
    : database_(database),
      mac_(mac),
      clock_(clock),
      random_(random),
      cost_(cost),
      gate_(std::thread::hardware_concurrency() / 2, kMaxWaitingSignIns) {
    limits_.least.passes = std::min(limits_.least.passes, cost.passes);
    limits_.least.memory_bytes = std::min(limits_.least.memory_bytes, cost.memory_bytes);
    dummy_hash_ = hash_password("the password of nobody", cost, random).value_or("");
}

Result<User> Users::create(const Id& tenant, std::string_view name, std::string_view password,
                           std::span<const RoleAssignment> roles) {
    OSTAL_TRYV(check_name(name));
    UserRow row{new_id(random_), tenant, std::string(name), false, clock_.wall_now_us(), "", 0};
    if (!password.empty()) {
        OSTAL_TRYV(check_password_rules(password));
        OSTAL_TRY(const auto pass, gate_.enter());
        OSTAL_TRY(row.password, hash_password(password, cost_, random_));
        row.password_changed_us = row.created_us;
    }
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(only(rows.tenants("id = ?", {tenant}), "tenant"));
    auto put = rows.put(row);
    if (!put && put.error().code() == Code::kConflict)
        return fail(Code::kConflict, "a user of this name exists");
    OSTAL_TRYV(std::move(put));
    for (const RoleAssignment& role : roles) {
        OSTAL_TRYV(add_role(rows, row.id, role, new_id(random_), row.created_us));
    }
    OSTAL_TRY(User made, with_roles(rows, row));
    OSTAL_TRYV(transaction.commit());
    return made;
}

Result<User> Users::find(const Id& id) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    return load(rows, "id = ?", {id});
}

Result<User> Users::find_in(const Id& tenant, const Id& id) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    return load(rows, "id = ? AND tenant = ?", {id, tenant});
}

Result<User> Users::find_by_name(std::string_view name) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    return load(rows, "name_key = ?", {name_key(name)});
}

Result<std::vector<User>> Users::list(const Id& tenant) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    return load_all(rows, "tenant = ? ORDER BY name_key", {tenant});
}

Result<std::vector<User>> Users::list_all() const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    return load_all(rows, "1 ORDER BY name_key", {});
}

Status Users::set_disabled(const Id& id, bool disabled) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(UserRow row, only(rows.users("id = ?", {id}), "user"));
    row.disabled = disabled;
    OSTAL_TRYV(rows.put(row));
    if (disabled) OSTAL_TRYV(require_administrators(rows));
    return transaction.commit();
}

Status Users::set_password(const Id& id, std::string_view password) {
    OSTAL_TRYV(check_password_rules(password));
    std::string hash;
    {
        OSTAL_TRY(const auto pass, gate_.enter());
        OSTAL_TRY(hash, hash_password(password, cost_, random_));
    }
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(UserRow row, only(rows.users("id = ?", {id}), "user"));
    row.password = std::move(hash);
    row.password_changed_us = clock_.wall_now_us();
    OSTAL_TRYV(rows.put(row));
    return transaction.commit();
}

Status Users::assign_role(const Id& id, const RoleAssignment& assignment) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(add_role(rows, id, assignment, new_id(random_), clock_.wall_now_us()));
    return transaction.commit();
}

Status Users::withdraw_role(const Id& id, const RoleAssignment& assignment) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(const auto held, rows.roles("user = ? AND withdrawn_us = 0", {id}));
    const auto row = std::find_if(held.begin(), held.end(),
                                  [&](const RoleRow& role) { return same(role.assignment, assignment); });
    if (row == held.end()) return fail(Code::kNotFound, "the user does not hold this role");
    RoleRow withdrawn = *row;
    withdrawn.withdrawn_us = clock_.wall_now_us();
    OSTAL_TRYV(rows.put(withdrawn));
    OSTAL_TRYV(require_administrators(rows));
    return transaction.commit();
}

Result<User> Users::authenticate(std::string_view name, std::string_view password) {
    UserRow row;
    bool usable = false;
    if (check_name(name)) {
        OSTAL_TRY(Transaction transaction, database_.begin_read());
        IdentityRows rows(transaction, mac_);
        OSTAL_TRY(auto found, rows.users("name_key = ?", {name_key(name)}));
        if (!found.empty()) {
            row = std::move(found.front());
            OSTAL_TRY(const Tenant tenant, only(rows.tenants("id = ?", {row.tenant}), "tenant"));
            usable = !row.disabled && !tenant.disabled && !row.password.empty();
        }
    }
    // What is no password by the rules is not hashed at its length, but something is.
    const bool bounded = password.size() <= 4 * kMaxPasswordCharacters;
    bool right = false;
    {
        OSTAL_TRY(const auto pass, gate_.enter());
        OSTAL_TRY(right, verify_password(bounded ? password : std::string_view("x"),
                                         usable ? row.password : dummy_hash_, limits_));
    }
    if (!usable || !bounded || !right) return wrong_credentials();
    OSTAL_TRY(const Argon2Cost cost, password_hash_cost(row.password));
    if (cost.passes < cost_.passes || cost.memory_bytes < cost_.memory_bytes) {
        OSTAL_TRYV(set_password_hash(row.id, row.password, password));
    }
    return find(row.id);
}

// Hashes the password anew at today's cost, unless somebody changed it meanwhile.
Status Users::set_password_hash(const Id& id, const std::string& old_hash, std::string_view password) {
    OSTAL_TRY(const auto pass, gate_.enter());
    OSTAL_TRY(const std::string hash, hash_password(password, cost_, random_));
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(UserRow row, only(rows.users("id = ?", {id}), "user"));
    if (row.password != old_hash) return {};
    row.password = hash;
    OSTAL_TRYV(rows.put(row));
    return transaction.commit();
}

Result<std::uint32_t> Users::approvals_required() const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return IdentityRows(transaction, mac_).approvals();
}

Status Users::set_approvals_required(std::uint32_t approvals) {
    if (approvals != 1 && approvals != 2) return fail(Code::kUnprocessable, "approvals.required is 1 or 2");
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(rows.put_approvals(approvals));
    if (approvals == 2) {
        OSTAL_TRY(const std::size_t administrators, count_usable(rows, Role::kSysadmin, approvals));
        OSTAL_TRY(const std::size_t officers, count_usable(rows, Role::kSecurityOfficer, approvals));
        if (administrators < 1 || officers < 2) {
            return fail(Code::kConflict,
                        "two approvals need a sysadmin and two security-officers who are not the owner");
        }
    }
    return transaction.commit();
}

Result<Subject> Users::subject(const User& user) const {
    Subject subject;
    subject.kind = Subject::Kind::kUser;
    subject.id = user.id;
    subject.disabled = user.disabled;
    subject.roles = user.roles;
    OSTAL_TRY(subject.approvals_required, approvals_required());
    return subject;
}

}  // namespace ostal::security
