// Tenants, projects and the models a project may use.
//
// Every row carries a row MAC (security/storage/row_mac.h): a row that was written to the file by hand, or
// moved, is kIntegrity. Names: NFC-safe text of 1 to 64 characters, unique without regard to ASCII case.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "security/access/policy.h"

namespace ostal::security {

class Database;
class RowMac;

struct Tenant {
    Id id = kNoId;
    std::string name;
    bool disabled = false;
    std::int64_t created_us = 0;
};
struct Project {
    Id id = kNoId;
    Id tenant = kNoId;
    std::string name;
    bool disabled = false;
    std::int64_t created_us = 0;
};
struct ModelGrant {
    Id tenant = kNoId;
    Id project = kNoId;
    std::string model;  // a model's name; all its active versions
    std::int64_t created_us = 0;
};

// Exists only while the appliance is unsealed. Thread-safe. Every lookup names the tenant, so that another
// tenant's id is kNotFound.
class Tenants {
public:
    Tenants(Database& database, const RowMac& mac, const Clock& clock, RandomSource& random);

    // kConflict: the name is taken. kUnprocessable: the name is not allowed.
    Result<Tenant> create_tenant(std::string_view name);
    Result<Tenant> tenant(const Id& id) const;
    Result<Tenant> tenant_by_name(std::string_view name) const;
    Result<std::vector<Tenant>> list_tenants() const;
    Status set_tenant_disabled(const Id& id, bool disabled);

    Result<Project> create_project(const Id& tenant, std::string_view name);
    Result<Project> project(const Id& tenant, const Id& id) const;
    Result<Project> project_by_name(const Id& tenant, std::string_view name) const;
    Result<std::vector<Project>> list_projects(const Id& tenant) const;
    Status set_project_disabled(const Id& tenant, const Id& id, bool disabled);

    // Idempotent. The model's name is checked for its form only.
    Status grant_model(const Id& tenant, const Id& project, std::string_view model);
    Status withdraw_model(const Id& tenant, const Id& project, std::string_view model);
    Result<bool> is_granted(const Id& tenant, const Id& project, std::string_view model) const;
    Result<std::vector<ModelGrant>> list_grants(const Id& tenant, const Id& project) const;

private:
    Database& database_;
    const RowMac& mac_;
    const Clock& clock_;
    RandomSource& random_;
};

}  // namespace ostal::security
