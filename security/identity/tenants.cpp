#include "security/identity/tenants.h"

#include "security/identity/names.h"
#include "security/identity/rows.h"
#include "security/signature/names.h"
#include "security/storage/database.h"
#include "security/storage/row_mac.h"

namespace ostal::security {
namespace {

// A name that is taken, told apart from other constraints by where it can happen.
Status named(Status put, std::string_view what) {
    if (put || put.error().code() != Code::kConflict) return put;
    return fail(Code::kConflict, "a " + std::string(what) + " of this name exists");
}

}  // namespace

Tenants::Tenants(Database& database, const RowMac& mac, const Clock& clock, RandomSource& random)
    : database_(database), mac_(mac), clock_(clock), random_(random) {}

Result<Tenant> Tenants::create_tenant(std::string_view name) {
    OSTAL_TRYV(check_name(name));
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    const Tenant tenant{new_id(random_), std::string(name), false, clock_.wall_now_us()};
    OSTAL_TRYV(named(IdentityRows(transaction, mac_).put(tenant), "tenant"));
    OSTAL_TRYV(transaction.commit());
    return tenant;
}

Result<Tenant> Tenants::tenant(const Id& id) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return only(IdentityRows(transaction, mac_).tenants("id = ?", {id}), "tenant");
}

Result<Tenant> Tenants::tenant_by_name(std::string_view name) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return only(IdentityRows(transaction, mac_).tenants("name_key = ?", {name_key(name)}), "tenant");
}

Result<std::vector<Tenant>> Tenants::list_tenants() const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return IdentityRows(transaction, mac_).tenants("1 ORDER BY name_key");
}

Status Tenants::set_tenant_disabled(const Id& id, bool disabled) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(Tenant tenant, only(rows.tenants("id = ?", {id}), "tenant"));
    if (disabled && tenant.name == "default") {
        return fail(Code::kConflict, "the tenant default holds the administrators and stays enabled");
    }
    tenant.disabled = disabled;
    OSTAL_TRYV(rows.put(tenant));
    return transaction.commit();
}

Result<Project> Tenants::create_project(const Id& tenant, std::string_view name) {
    OSTAL_TRYV(check_name(name));
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(only(rows.tenants("id = ?", {tenant}), "tenant"));
    const Project project{new_id(random_), tenant, std::string(name), false, clock_.wall_now_us()};
    OSTAL_TRYV(named(rows.put(project), "project"));
    OSTAL_TRYV(transaction.commit());
    return project;
}

Result<Project> Tenants::project(const Id& tenant, const Id& id) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return only(IdentityRows(transaction, mac_).projects("id = ? AND tenant = ?", {id, tenant}), "project");
}

Result<Project> Tenants::project_by_name(const Id& tenant, std::string_view name) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return only(
        IdentityRows(transaction, mac_).projects("name_key = ? AND tenant = ?", {name_key(name), tenant}),
        "project");
}

Result<std::vector<Project>> Tenants::list_projects(const Id& tenant) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    return IdentityRows(transaction, mac_).projects("tenant = ? ORDER BY name_key", {tenant});
}

Status Tenants::set_project_disabled(const Id& tenant, const Id& id, bool disabled) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(Project project, only(rows.projects("id = ? AND tenant = ?", {id, tenant}), "project"));
    project.disabled = disabled;
    OSTAL_TRYV(rows.put(project));
    return transaction.commit();
}

Status Tenants::grant_model(const Id& tenant, const Id& project, std::string_view model) {
    if (!is_model_name(model)) return fail(Code::kUnprocessable, "not a model's name");
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(only(rows.projects("id = ? AND tenant = ?", {project, tenant}), "project"));
    OSTAL_TRY(const auto held,
              rows.grants("project = ? AND model = ? AND withdrawn_us = 0", {project, model}));
    if (!held.empty()) return {};
    const GrantRow row{new_id(random_), {tenant, project, std::string(model), clock_.wall_now_us()}, 0};
    OSTAL_TRYV(rows.put(row));
    return transaction.commit();
}

Status Tenants::withdraw_model(const Id& tenant, const Id& project, std::string_view model) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(only(rows.projects("id = ? AND tenant = ?", {project, tenant}), "project"));
    OSTAL_TRY(auto held, rows.grants("project = ? AND model = ? AND withdrawn_us = 0", {project, model}));
    for (GrantRow& row : held) {
        row.withdrawn_us = clock_.wall_now_us();
        OSTAL_TRYV(rows.put(row));
    }
    return transaction.commit();
}

Result<bool> Tenants::is_granted(const Id& tenant, const Id& project, std::string_view model) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    OSTAL_TRY(const auto held, IdentityRows(transaction, mac_)
                                   .grants("tenant = ? AND project = ? AND model = ? AND withdrawn_us = 0",
                                           {tenant, project, model}));
    return !held.empty();
}

Result<std::vector<ModelGrant>> Tenants::list_grants(const Id& tenant, const Id& project) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(const auto held, rows.grants("tenant = ? AND project = ? AND withdrawn_us = 0 ORDER BY model",
                                           {tenant, project}));
    std::vector<ModelGrant> grants;
    for (const GrantRow& row : held) grants.push_back(row.grant);
    return grants;
}

}  // namespace ostal::security
