#include "security/storage/schema.h"

#include <array>

namespace ostal::security {
namespace {

constexpr std::array kKeystore{Migration{1, 1, R"sql(
CREATE TABLE instance(one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL CHECK (length(id) = 16)) STRICT;
CREATE TABLE slots(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    kind INTEGER NOT NULL,
    label TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    passes INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    salt BLOB NOT NULL,
    wrap BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE service_keys(name TEXT PRIMARY KEY, counter INTEGER NOT NULL, wrap BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE keks(epoch INTEGER PRIMARY KEY, created_us INTEGER NOT NULL, wrap BLOB NOT NULL) STRICT;
CREATE TABLE deks(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    created_us INTEGER NOT NULL,
    wrap BLOB NOT NULL) STRICT, WITHOUT ROWID;
)sql"}};

// A module that keeps rows adds its tables here, as the next number.
constexpr std::array kOstal{
    // Identity. `name_key` is the name as it is compared; `mac` the row MAC; table_macs holds one MAC a table.
    Migration{1, 1, R"sql(
CREATE TABLE table_macs(name TEXT PRIMARY KEY, mac BLOB NOT NULL CHECK (length(mac) = 32)) STRICT, WITHOUT ROWID;
CREATE TABLE instance_policy(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    approvals INTEGER NOT NULL CHECK (approvals IN (1, 2)),
    mac BLOB NOT NULL) STRICT;
CREATE TABLE tenants(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_us INTEGER NOT NULL,
    mac BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE projects(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant BLOB NOT NULL REFERENCES tenants(id),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_us INTEGER NOT NULL,
    mac BLOB NOT NULL,
    UNIQUE (tenant, name_key)) STRICT, WITHOUT ROWID;
CREATE TABLE users(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant BLOB NOT NULL REFERENCES tenants(id),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_us INTEGER NOT NULL,
    password TEXT NOT NULL,
    password_changed_us INTEGER NOT NULL,
    mac BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE role_assignments(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    user BLOB NOT NULL REFERENCES users(id),
    role TEXT NOT NULL,
    tenant BLOB NOT NULL CHECK (length(tenant) = 16),
    project BLOB NOT NULL CHECK (length(project) = 16),
    created_us INTEGER NOT NULL,
    withdrawn_us INTEGER NOT NULL,
    mac BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX role_assignments_user ON role_assignments(user);
CREATE TABLE model_grants(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant BLOB NOT NULL REFERENCES tenants(id),
    project BLOB NOT NULL REFERENCES projects(id),
    model TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    withdrawn_us INTEGER NOT NULL,
    mac BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX model_grants_project ON model_grants(project, model);
CREATE TABLE api_keys(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant BLOB NOT NULL REFERENCES tenants(id),
    project BLOB NOT NULL REFERENCES projects(id),
    created_by BLOB NOT NULL CHECK (length(created_by) = 16),
    name TEXT NOT NULL,
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    lookup TEXT NOT NULL UNIQUE,
    secret_mac BLOB NOT NULL CHECK (length(secret_mac) = 32),
    scopes TEXT NOT NULL,
    models TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    revoked_us INTEGER NOT NULL,
    last_used_us INTEGER NOT NULL,
    mac BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_project ON api_keys(project);
)sql"},
    // Models (appliance/model_store). `serving` and `previous` are versions of the name; `restore_previous` is what
    // `previous` was before a trial that is not decided yet.
    Migration{2, 1, R"sql(
CREATE TABLE model_names(
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    anchor TEXT NOT NULL,
    floor INTEGER NOT NULL,
    serving INTEGER,
    previous INTEGER,
    restore_previous INTEGER,
    PRIMARY KEY (tenant, name)) STRICT, WITHOUT ROWID;
CREATE TABLE model_versions(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    state TEXT NOT NULL CHECK (state IN ('staged', 'verified', 'approved', 'active', 'confirmed', 'retired')),
    manifest_sha256 TEXT NOT NULL,
    format TEXT NOT NULL,
    default_system TEXT NOT NULL,
    license TEXT NOT NULL,
    total_bytes INTEGER NOT NULL,
    imported_us INTEGER NOT NULL,
    imported_by BLOB NOT NULL CHECK (length(imported_by) = 16),
    UNIQUE (tenant, name, version),
    FOREIGN KEY (tenant, name) REFERENCES model_names(tenant, name)) STRICT, WITHOUT ROWID;
CREATE TABLE model_files(
    version_id BLOB NOT NULL REFERENCES model_versions(id),
    name TEXT NOT NULL,
    dek_id BLOB NOT NULL CHECK (length(dek_id) = 16),
    PRIMARY KEY (version_id, name)) STRICT, WITHOUT ROWID;
CREATE TABLE model_approvals(
    version_id BLOB NOT NULL REFERENCES model_versions(id),
    approver BLOB NOT NULL CHECK (length(approver) = 16),
    approved_us INTEGER NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    PRIMARY KEY (version_id, approver)) STRICT, WITHOUT ROWID;
CREATE TABLE trust_seen(
    anchor TEXT NOT NULL,
    role TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (anchor, role)) STRICT, WITHOUT ROWID;
)sql"},
};

}  // namespace

std::span<const Migration> keystore_migrations() { return kKeystore; }
std::span<const Migration> ostal_migrations() { return kOstal; }

}  // namespace ostal::security
