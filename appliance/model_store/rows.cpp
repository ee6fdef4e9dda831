#include "appliance/model_store/store_state.h"

#include <array>

namespace ostal {
namespace {

using security::Id;
using security::Transaction;

constexpr std::array<std::string_view, 6> kStateNames = {"staged", "verified",  "approved",
                                                         "active", "confirmed", "retired"};

Result<VersionState> state_from_name(const std::string& name) {
    for (std::size_t i = 0; i < kStateNames.size(); ++i) {
        if (kStateNames[i] == name) return static_cast<VersionState>(i);
    }
    return fail(Code::kIntegrity, "a model version has the unknown state " + name);
}

std::int64_t signed_of(std::uint64_t value) { return static_cast<std::int64_t>(value); }
std::uint64_t unsigned_of(std::int64_t value) { return static_cast<std::uint64_t>(value); }
std::optional<std::int64_t> signed_of(const std::optional<std::uint64_t>& value) {
    return value ? std::optional<std::int64_t>(signed_of(*value)) : std::nullopt;
}
std::optional<std::uint64_t> unsigned_of(const std::optional<std::int64_t>& value) {
    return value ? std::optional<std::uint64_t>(unsigned_of(*value)) : std::nullopt;
}

Status read_details(Transaction& tx, ModelVersion& version) {
    OSTAL_TRY(const auto files, (tx.query_one<std::int64_t>(
                                    "SELECT count(*) FROM model_files WHERE version_id = ?", {version.id})));
    version.file_count = unsigned_of(std::get<0>(*files));
    version.has_files = version.file_count > 0;
    OSTAL_TRY(const auto approvals,
              (tx.query<Id, std::int64_t, std::string>(
                  "SELECT approver, approved_us, manifest_sha256 FROM model_approvals WHERE version_id = ? "
                  "ORDER BY approved_us, approver",
                  {version.id})));
    for (const auto& [approver, approved_us, manifest] : approvals) {
        version.approvals.push_back({approver, approved_us, manifest});
    }
    return {};
}

Result<std::vector<ModelVersion>> select_versions(Transaction& tx, std::string_view condition,
                                                  security::Parameters parameters) {
    OSTAL_TRY(const auto rows,
              (tx.query<Id, std::string, std::int64_t, std::string, std::string, std::string, std::string,
                        std::string, std::int64_t, std::int64_t, Id, std::string>(
                  "SELECT v.id, v.name, v.version, v.state, v.manifest_sha256, v.format, v.default_system, "
                  "v.license, "
                  "v.total_bytes, v.imported_us, v.imported_by, n.anchor FROM model_versions v "
                  "JOIN model_names n ON n.tenant = v.tenant AND n.name = v.name WHERE v.tenant = ? " +
                      std::string(condition) + " ORDER BY v.name, v.version DESC",
                  parameters)));
    std::vector<ModelVersion> out;
    for (const auto& row : rows) {
        ModelVersion version;
        std::string state;
        std::int64_t number = 0;
        std::int64_t bytes = 0;
        std::tie(version.id, version.model, number, state, version.manifest_sha256, version.format,
                 version.default_system, version.license, bytes, version.imported_us, version.imported_by,
                 version.anchor) = row;
        version.version = unsigned_of(number);
        version.total_bytes = unsigned_of(bytes);
        OSTAL_TRY(version.state, state_from_name(state));
        OSTAL_TRYV(read_details(tx, version));
        out.push_back(std::move(version));
    }
    return out;
}

}  // namespace

std::string_view version_state_name(VersionState state) {
    return kStateNames[static_cast<std::size_t>(state)];
}

Result<std::optional<NameRow>> read_name(Transaction& tx, const std::string& model) {
    using Number = std::optional<std::int64_t>;
    OSTAL_TRY(const auto row,
              (tx.query_one<std::string, std::int64_t, Number, Number, Number>(
                  "SELECT anchor, floor, serving, previous, restore_previous FROM model_names "
                  "WHERE tenant = ? AND name = ?",
                  {kTenant, model})));
    if (!row) return std::optional<NameRow>();
    const auto& [anchor, floor, serving, previous, restore] = *row;
    return std::optional<NameRow>(NameRow{anchor, unsigned_of(floor), unsigned_of(serving),
                                          unsigned_of(previous), unsigned_of(restore)});
}

Status write_name(Transaction& tx, const std::string& model, const NameRow& row) {
    OSTAL_TRYV(tx.execute(
        "INSERT INTO model_names(tenant, name, anchor, floor, serving, previous, restore_previous) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, name) DO UPDATE SET "
        "anchor = excluded.anchor, floor = excluded.floor, serving = excluded.serving, "
        "previous = excluded.previous, restore_previous = excluded.restore_previous",
        {kTenant, model, row.anchor, signed_of(row.floor), signed_of(row.serving), signed_of(row.previous),
         signed_of(row.restore_previous)}));
    return {};
}

Result<ModelVersion> read_version(Transaction& tx, const std::string& model, std::uint64_t version) {
    OSTAL_TRY(auto found,
              select_versions(tx, "AND v.name = ? AND v.version = ?", {kTenant, model, signed_of(version)}));
    if (found.empty()) {
        return fail(Code::kNotFound, "there is no model " + model + " version " + std::to_string(version));
    }
    return std::move(found.front());
}

Result<std::vector<ModelVersion>> read_versions(Transaction& tx, const std::string& model) {
    return select_versions(tx, "AND v.name = ?", {kTenant, model});
}

Result<std::vector<std::string>> read_model_names(Transaction& tx) {
    OSTAL_TRY(
        const auto rows,
        (tx.query<std::string>("SELECT name FROM model_names WHERE tenant = ? ORDER BY name", {kTenant})));
    std::vector<std::string> out;
    for (const auto& [name] : rows) out.push_back(name);
    return out;
}

Status write_state(Transaction& tx, const Id& id, VersionState state) {
    OSTAL_TRYV(
        tx.execute("UPDATE model_versions SET state = ? WHERE id = ?", {version_state_name(state), id}));
    return {};
}

std::string model_floor_name(const std::string& model) { return "model/" + model; }
std::string role_floor_name(const std::string& anchor, security::MetadataRole role) {
    return "role/" + anchor + "/" + std::string(security::metadata_role_name(role));
}

}  // namespace ostal
