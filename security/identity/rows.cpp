#include "security/identity/rows.h"

#include <algorithm>

#include "base/check.h"
#include "security/identity/names.h"

namespace ostal::security {

// Columns in the order of their MAC; the first is the primary key.
struct IdentityRows::Table {
    std::string_view name;
    std::vector<std::string_view> columns;
    std::string_view outside_mac = {};  // a column that is 0 at first and not under the MAC
};

const IdentityRows::Table IdentityRows::kTenants{"tenants",
                                                 {"id", "name", "name_key", "disabled", "created_us"}};
const IdentityRows::Table IdentityRows::kProjects{
    "projects", {"id", "tenant", "name", "name_key", "disabled", "created_us"}};
const IdentityRows::Table IdentityRows::kUsers{
    "users",
    {"id", "tenant", "name", "name_key", "disabled", "created_us", "password", "password_changed_us"}};
const IdentityRows::Table IdentityRows::kRoles{
    "role_assignments", {"id", "user", "role", "tenant", "project", "created_us", "withdrawn_us"}};
const IdentityRows::Table IdentityRows::kGrants{
    "model_grants", {"id", "tenant", "project", "model", "created_us", "withdrawn_us"}};
const IdentityRows::Table IdentityRows::kKeys{
    "api_keys",
    {"id", "tenant", "project", "created_by", "name", "environment", "lookup", "secret_mac", "scopes",
     "models", "created_us", "expires_us", "revoked_us"},
    "last_used_us"};
const IdentityRows::Table IdentityRows::kPolicy{"instance_policy", {"id", "approvals"}};

namespace {

using Integer = std::int64_t;
using Text = std::string;

Parameters values_of(const Tenant& row) {
    return {row.id, row.name, name_key(row.name), row.disabled, row.created_us};
}
Parameters values_of(const Project& row) {
    return {row.id, row.tenant, row.name, name_key(row.name), row.disabled, row.created_us};
}
Parameters values_of(const UserRow& row) {
    return {row.id,       row.tenant,     row.name,     name_key(row.name),
            row.disabled, row.created_us, row.password, row.password_changed_us};
}
Parameters values_of(const RoleRow& row) {
    return {row.id,
            row.user,
            role_name(row.assignment.role),
            row.assignment.tenant,
            row.assignment.project,
            row.created_us,
            row.withdrawn_us};
}
Parameters values_of(const GrantRow& row) {
    return {row.id,          row.grant.tenant,     row.grant.project,
            row.grant.model, row.grant.created_us, row.withdrawn_us};
}

std::string_view environment_name(KeyEnvironment environment) {
    return environment == KeyEnvironment::kLive ? "live" : "test";
}

std::string join(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    return text;
}
std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> words;
    while (!text.empty()) {
        const std::size_t space = text.find(' ');
        words.emplace_back(text.substr(0, space));
        text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    }
    return words;
}

Parameters values_of(const KeyRow& row) {
    const ApiKey& key = row.key;
    std::vector<std::string> scopes;
    for (const Permission scope : key.scopes) scopes.emplace_back(permission_name(scope));
    return {key.id,           key.tenant,     key.project,
            key.created_by,   key.name,       environment_name(key.environment),
            key.lookup,       row.secret_mac, join(scopes),
            join(key.models), key.created_us, key.expires_us,
            key.revoked_us};
}

Result<std::vector<Permission>> scopes_of(const std::string& text) {
    std::vector<Permission> scopes;
    for (const std::string& word : split(text)) {
        const auto scope = permission_from_name(word);
        if (!scope) return fail(Code::kIntegrity, "an API key in the database has an unknown scope");
        scopes.push_back(*scope);
    }
    return scopes;
}

}  // namespace

Status IdentityRows::write(const Table& table, Parameters values) {
    CHECK_EQ(values.size(), table.columns.size());
    values.emplace_back(mac_.of_row(table.name, values));
    std::string names;
    std::string marks;
    std::string updates;
    for (const std::string_view column : table.columns) {
        names += std::string(column) + ", ";
        marks += "?, ";
        updates += std::string(column) + " = excluded." + std::string(column) + ", ";
    }
    names += "mac";
    marks += "?";
    updates += "mac = excluded.mac";
    if (!table.outside_mac.empty()) {
        names += ", " + std::string(table.outside_mac);
        marks += ", 0";
    }
    OSTAL_TRYV(transaction_.execute("INSERT INTO " + std::string(table.name) + "(" + names + ") VALUES (" +
                                        marks + ") ON CONFLICT(id) DO UPDATE SET " + updates,
                                    values));
    OSTAL_TRY(const auto macs, macs_of(table));
    OSTAL_TRYV(transaction_.execute(
        "INSERT INTO table_macs(name, mac) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET mac = excluded.mac",
        {table.name, mac_.of_table(table.name, macs)}));
    return {};
}

Status IdentityRows::put(const Tenant& row) { return write(kTenants, values_of(row)); }
Status IdentityRows::put(const Project& row) { return write(kProjects, values_of(row)); }
Status IdentityRows::put(const UserRow& row) { return write(kUsers, values_of(row)); }
Status IdentityRows::put(const RoleRow& row) { return write(kRoles, values_of(row)); }
Status IdentityRows::put(const GrantRow& row) { return write(kGrants, values_of(row)); }
Status IdentityRows::put(const KeyRow& row) { return write(kKeys, values_of(row)); }
Status IdentityRows::put_approvals(std::uint32_t approvals) {
    return write(kPolicy, {1, static_cast<Integer>(approvals)});
}

Status IdentityRows::check(const Table& table, const Parameters& values, const Digest32& mac) {
    if (mac_.check_row(table.name, values, mac)) return {};
    return fail(Code::kIntegrity,
                "a row of " + std::string(table.name) +
                    " was not written by this program: the database was changed from outside");
}

std::string IdentityRows::select(const Table& table, std::string_view where) {
    std::string sql = "SELECT ";
    for (const std::string_view column : table.columns) sql += std::string(column) + ", ";
    sql += "mac";
    if (!table.outside_mac.empty()) sql += ", " + std::string(table.outside_mac);
    return sql + " FROM " + std::string(table.name) + " WHERE " + std::string(where);
}

Result<std::vector<Tenant>> IdentityRows::tenants(std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found, (transaction_.query<Id, Text, Text, Integer, Integer, Digest32>(
                                    select(kTenants, where), parameters)));
    std::vector<Tenant> rows;
    for (const auto& [id, name, key, disabled, created, mac] : found) {
        rows.push_back({id, name, disabled != 0, created});
        OSTAL_TRYV(check(kTenants, values_of(rows.back()), mac));
    }
    return rows;
}

Result<std::vector<Project>> IdentityRows::projects(std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found, (transaction_.query<Id, Id, Text, Text, Integer, Integer, Digest32>(
                                    select(kProjects, where), parameters)));
    std::vector<Project> rows;
    for (const auto& [id, tenant, name, key, disabled, created, mac] : found) {
        rows.push_back({id, tenant, name, disabled != 0, created});
        OSTAL_TRYV(check(kProjects, values_of(rows.back()), mac));
    }
    return rows;
}

Result<std::vector<UserRow>> IdentityRows::users(std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found,
              (transaction_.query<Id, Id, Text, Text, Integer, Integer, Text, Integer, Digest32>(
                  select(kUsers, where), parameters)));
    std::vector<UserRow> rows;
    for (const auto& [id, tenant, name, key, disabled, created, password, changed, mac] : found) {
        rows.push_back({id, tenant, name, disabled != 0, created, password, changed});
        OSTAL_TRYV(check(kUsers, values_of(rows.back()), mac));
    }
    return rows;
}

Result<std::vector<RoleRow>> IdentityRows::roles(std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found, (transaction_.query<Id, Id, Text, Id, Id, Integer, Integer, Digest32>(
                                    select(kRoles, where), parameters)));
    std::vector<RoleRow> rows;
    for (const auto& [id, user, role_text, tenant, project, created, withdrawn, mac] : found) {
        const auto role = role_from_name(role_text);
        if (!role) return fail(Code::kIntegrity, "a role assignment in the database names an unknown role");
        rows.push_back({id, user, {*role, tenant, project}, created, withdrawn});
        OSTAL_TRYV(check(kRoles, values_of(rows.back()), mac));
    }
    return rows;
}

Result<std::vector<GrantRow>> IdentityRows::grants(std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found, (transaction_.query<Id, Id, Id, Text, Integer, Integer, Digest32>(
                                    select(kGrants, where), parameters)));
    std::vector<GrantRow> rows;
    for (const auto& [id, tenant, project, model, created, withdrawn, mac] : found) {
        rows.push_back({id, {tenant, project, model, created}, withdrawn});
        OSTAL_TRYV(check(kGrants, values_of(rows.back()), mac));
    }
    return rows;
}

Result<std::vector<KeyRow>> IdentityRows::keys(std::string_view where, const Parameters& parameters) {
    OSTAL_TRY(const auto found,
              (transaction_.query<Id, Id, Id, Id, Text, Text, Text, Digest32, Text, Text, Integer, Integer,
                                  Integer, Digest32, Integer>(select(kKeys, where), parameters)));
    std::vector<KeyRow> rows;
    for (const auto& [id, tenant, project, by, name, environment, lookup, secret_mac, scopes, models, created,
                      expires, revoked, mac, last_used] : found) {
        KeyRow row;
        row.secret_mac = secret_mac;
        ApiKey& key = row.key;
        key.id = id;
        key.tenant = tenant;
        key.project = project;
        key.created_by = by;
        key.name = name;
        key.environment = environment == "live" ? KeyEnvironment::kLive : KeyEnvironment::kTest;
        key.lookup = lookup;
        OSTAL_TRY(key.scopes, scopes_of(scopes));
        key.models = split(models);
        key.created_us = created;
        key.expires_us = expires;
        key.revoked_us = revoked;
        key.last_used_us = last_used;
        OSTAL_TRYV(check(kKeys, values_of(row), mac));
        rows.push_back(std::move(row));
    }
    return rows;
}

Result<std::uint32_t> IdentityRows::approvals() {
    OSTAL_TRY(const auto found,
              (transaction_.query_one<Integer, Integer, Digest32>(select(kPolicy, "id = 1"))));
    if (!found) return fail(Code::kNotFound, "the instance is not set up");
    const auto& [id, approvals, mac] = *found;
    OSTAL_TRYV(check(kPolicy, {id, approvals}, mac));
    return static_cast<std::uint32_t>(approvals);
}

Result<std::vector<Digest32>> IdentityRows::macs_of(const Table& table) {
    OSTAL_TRY(const auto found,
              transaction_.query<Digest32>("SELECT mac FROM " + std::string(table.name) + " ORDER BY id"));
    std::vector<Digest32> macs;
    for (const auto& [mac] : found) macs.push_back(mac);
    return macs;
}

Status IdentityRows::check_table(const Table& table) {
    OSTAL_TRY(const auto macs, macs_of(table));
    OSTAL_TRY(const auto found,
              (transaction_.query_one<Digest32>("SELECT mac FROM table_macs WHERE name = ?", {table.name})));
    if (!found && macs.empty()) return {};
    if (found && mac_.check_table(table.name, macs, std::get<0>(*found))) return {};
    return fail(Code::kIntegrity, "rows of " + std::string(table.name) +
                                      " were added, removed or brought back from outside this program");
}

Status IdentityRows::check_all() {
    OSTAL_TRYV(tenants("1"));
    OSTAL_TRYV(projects("1"));
    OSTAL_TRYV(users("1"));
    OSTAL_TRYV(roles("1"));
    OSTAL_TRYV(grants("1"));
    OSTAL_TRYV(keys("1"));
    const auto policy = approvals();
    if (!policy && policy.error().code() != Code::kNotFound) return fail(policy.error());
    for (const Table* table : {&kTenants, &kProjects, &kUsers, &kRoles, &kGrants, &kKeys, &kPolicy}) {
        OSTAL_TRYV(check_table(*table));
    }
    return {};
}

}  // namespace ostal::security
