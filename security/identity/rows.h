// The rows of the identity tables: each is read through its MAC and written with it, and each write renews
// the table's MAC. The stores (tenants.h, users.h, tokens.h) and setup.h are made of these.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "security/crypto/hash.h"
#include "security/identity/tenants.h"
#include "security/identity/tokens.h"
#include "security/storage/database.h"
#include "security/storage/row_mac.h"

namespace ostal::security {

struct UserRow {
    Id id{};
    Id tenant{};
    std::string name;
    bool disabled = false;
    std::int64_t created_us = 0;
    std::string password;  // hash; "" when none is set
    std::int64_t password_changed_us = 0;
};
struct RoleRow {
    Id id{};
    Id user{};
    RoleAssignment assignment;
    std::int64_t created_us = 0;
    std::int64_t withdrawn_us = 0;
};
struct GrantRow {
    Id id{};
    ModelGrant grant;
    std::int64_t withdrawn_us = 0;
};
struct KeyRow {
    ApiKey key;
    Digest32 secret_mac{};
};

// Within one transaction.
class IdentityRows {
public:
    IdentityRows(Transaction& transaction, const RowMac& mac) : transaction_(transaction), mac_(mac) {}

    // Inserts or, by id, updates. kConflict when another row has the name.
    Status put(const Tenant& row);
    Status put(const Project& row);
    Status put(const UserRow& row);
    Status put(const RoleRow& row);
    Status put(const GrantRow& row);
    Status put(const KeyRow& row);  // all but last_used_us
    Status put_approvals(std::uint32_t approvals);

    // `where` is constant SQL: what follows WHERE. kIntegrity when a row's MAC does not hold.
    Result<std::vector<Tenant>> tenants(std::string_view where, const Parameters& parameters = {});
    Result<std::vector<Project>> projects(std::string_view where, const Parameters& parameters = {});
    Result<std::vector<UserRow>> users(std::string_view where, const Parameters& parameters = {});
    Result<std::vector<RoleRow>> roles(std::string_view where, const Parameters& parameters = {});
    Result<std::vector<GrantRow>> grants(std::string_view where, const Parameters& parameters = {});
    Result<std::vector<KeyRow>> keys(std::string_view where, const Parameters& parameters = {});
    Result<std::uint32_t> approvals();

    // Every row of every table and the tables' own MACs.
    Status check_all();

private:
    struct Table;
    static const Table kTenants, kProjects, kUsers, kRoles, kGrants, kKeys, kPolicy;
    Status write(const Table& table, Parameters values);
    Status check(const Table& table, const Parameters& values, const Digest32& mac);
    Result<std::vector<Digest32>> macs_of(const Table& table);
    Status check_table(const Table& table);
    static std::string select(const Table& table, std::string_view where);

    Transaction& transaction_;
    const RowMac& mac_;
};

// The only element, or kNotFound: "no such <what>".
template <typename Row>
Result<Row> only(Result<std::vector<Row>> rows, std::string_view what) {
    if (!rows) return fail(std::move(rows).error());
    if (rows->size() != 1) return fail(Code::kNotFound, "no such " + std::string(what));
    return std::move(rows->front());
}

}  // namespace ostal::security
