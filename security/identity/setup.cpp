#include "security/identity/setup.h"

#include "security/identity/rows.h"
#include "security/storage/database.h"
#include "security/storage/row_mac.h"

namespace ostal::security {
namespace {

// The roles of the i-th user of a setup.
std::vector<RoleAssignment> roles_of(bool single, std::size_t index, const Id& tenant, const Id& project) {
    if (single) return {{Role::kOwner, tenant, project}};
    if (index == 0) return {{Role::kSysadmin, kNoId, kNoId}, {Role::kModelOperator, kNoId, kNoId}};
    return {{Role::kSecurityOfficer, kNoId, kNoId}};
}

}  // namespace

Result<SetupResult> set_up_identity(const SetupRequest& request, Database& database, const RowMac& mac,
                                    const Clock& clock, RandomSource& random, const Argon2Cost& cost) {
    const std::size_t expected = request.single ? 1 : 3;
    if (request.users.size() != expected) {
        return fail(Code::kUnprocessable, request.single
                                              ? "setup --single makes one user"
                                              : "setup makes an administrator and two security-officers");
    }
    const std::int64_t now_us = clock.wall_now_us();
    SetupResult result;
    result.tenant = {new_id(random), "default", false, now_us};
    result.project = {new_id(random), result.tenant.id, "default", false, now_us};
    // Hashing is slow: it is done before the transaction.
    std::vector<UserRow> users;
    for (const FirstUser& first : request.users) {
        OSTAL_TRYV(check_name(first.name));
        OSTAL_TRYV(check_password_rules(first.password));
        OSTAL_TRY(std::string hash, hash_password(first.password, cost, random));
        users.push_back(
            {new_id(random), result.tenant.id, first.name, false, now_us, std::move(hash), now_us});
    }

    OSTAL_TRY(Transaction transaction, database.begin_write());
    IdentityRows rows(transaction, mac);
    OSTAL_TRY(const auto tenants, rows.tenants("1"));
    if (!tenants.empty()) return fail(Code::kConflict, "the instance is set up already");
    OSTAL_TRYV(rows.put(result.tenant));
    OSTAL_TRYV(rows.put(result.project));
    OSTAL_TRYV(rows.put_approvals(request.single ? 1 : 2));
    for (std::size_t i = 0; i < users.size(); ++i) {
        const UserRow& row = users[i];
        auto put = rows.put(row);
        if (!put && put.error().code() == Code::kConflict) {
            return fail(Code::kUnprocessable, "the first users have different names");
        }
        OSTAL_TRYV(std::move(put));
        User user{row.id, row.tenant, row.name, false, now_us, now_us, {}};
        user.roles = roles_of(request.single, i, result.tenant.id, result.project.id);
        for (const RoleAssignment& assignment : user.roles) {
            OSTAL_TRYV(rows.put(RoleRow{new_id(random), row.id, assignment, now_us, 0}));
        }
        result.users.push_back(std::move(user));
    }
    OSTAL_TRYV(transaction.commit());
    return result;
}

Status check_identity(Database& database, const RowMac& mac) {
    OSTAL_TRY(Transaction transaction, database.begin_read());
    return IdentityRows(transaction, mac).check_all();
}

}  // namespace ostal::security
