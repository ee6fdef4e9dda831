// Users, their roles and their passwords.
//
// A user belongs to one tenant (administrators to `default`). Names are unique over the instance without
// regard to ASCII case. Users and role rows carry row MACs: a row added, edited or moved in the file by
// hand is kIntegrity, and so is a user who has such a role row. Deletions do not exist: users are disabled,
// roles are withdrawn (the row stays, marked).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "security/access/policy.h"
#include "security/identity/names.h"
#include "security/identity/passwords.h"

namespace ostal::security {

class Database;
class RowMac;

struct User {
    Id id = kNoId;
    Id tenant = kNoId;
    std::string name;
    bool disabled = false;
    std::int64_t created_us = 0;
    std::int64_t password_changed_us = 0;  // 0: none set, sign-in is refused
    std::vector<RoleAssignment> roles;
};

// Exists only while the appliance is unsealed. Thread-safe.
class Users {
public:
    // Makes one hash at `cost`, for unknown names. Half of the processors may hash at once.
    Users(Database& database, const RowMac& mac, const Clock& clock, RandomSource& random,
          const Argon2Cost& cost = kPasswordCost);

    // With its roles, in one transaction. `password` empty: none is set. kConflict: the name is taken; for the
    // roles as assign_role.
    Result<User> create(const Id& tenant, std::string_view name, std::string_view password,
                        std::span<const RoleAssignment> roles = {});
    Result<User> find(const Id& id) const;
    // As find, within a tenant: another tenant's user is kNotFound.
    Result<User> find_in(const Id& tenant, const Id& id) const;
    Result<User> find_by_name(std::string_view name) const;
    Result<std::vector<User>> list(const Id& tenant) const;
    Result<std::vector<User>> list_all() const;

    // kConflict for the last usable sysadmin and the last usable security-officer.
    Status set_disabled(const Id& id, bool disabled);
    Status set_password(const Id& id, std::string_view password);

    // The caller asked may() before; the form is checked here: instance roles without tenant and project
    // and only for users of the tenant `default`; tenant and project roles within the user's tenant; owner
    // with tenant and project. kConflict by check_assignment. Holding it already is no error.
    Status assign_role(const Id& id, const RoleAssignment& assignment);
    // kConflict for the last usable sysadmin and the last usable security-officer; kNotFound: does
    // not hold it.
    Status withdraw_role(const Id& id, const RoleAssignment& assignment);

    // The user whose name and password these are. kUnauthenticated, with one message, for an unknown name, a
    // wrong password, a disabled user, a disabled tenant and a user without password; each takes one Argon2
    // computation at the configured cost. Upgrades an old hash.
    Result<User> authenticate(std::string_view name, std::string_view password);

    // approvals.required of the instance: 2, or 1 on one-person sites.
    Result<std::uint32_t> approvals_required() const;
    // kConflict for 2 while there are not a sysadmin and two security-officers other than an owner.
    Status set_approvals_required(std::uint32_t approvals);

    // What may() needs of a user.
    Result<Subject> subject(const User& user) const;

private:
    Status set_password_hash(const Id& id, const std::string& old_hash, std::string_view password);

    Database& database_;
    const RowMac& mac_;
    const Clock& clock_;
    RandomSource& random_;
    const Argon2Cost cost_;
    Argon2Limits limits_;  // of hashes read
    std::string dummy_hash_;
    PasswordGate gate_;
};

}  // namespace ostal::security
