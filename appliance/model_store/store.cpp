#include "appliance/model_store/store.h"

#include <algorithm>

#include "appliance/model_store/store_state.h"

namespace ostal {
namespace {

constexpr std::int64_t kApprovalLifeUs = 24LL * 3600 * 1'000'000;

tl::unexpected<Error> conflict(std::string why) { return fail(Code::kConflict, std::move(why)); }

std::string name_of(const ModelVersion& version) {
    return version.model + " version " + std::to_string(version.version);
}

// Approvals that count now: of the manifest as it is, not older than a day.
std::vector<security::Id> counting(const ModelVersion& version, std::int64_t now_us) {
    std::vector<security::Id> out;
    for (const Approval& approval : version.approvals) {
        const bool is_fresh = now_us - approval.approved_us < kApprovalLifeUs;
        if (is_fresh && approval.manifest_sha256 == version.manifest_sha256) out.push_back(approval.approver);
    }
    return out;
}

Result<std::set<security::Id>> file_keys(security::Transaction& tx, const security::Id& version) {
    OSTAL_TRY(const auto rows,
              (tx.query<security::Id>("SELECT dek_id FROM model_files WHERE version_id = ?", {version})));
    std::set<security::Id> out;
    for (const auto& [id] : rows) out.insert(id);
    return out;
}

}  // namespace

ModelStore::ModelStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelStore::~ModelStore() = default;

Result<std::unique_ptr<ModelStore>> ModelStore::open(const ModelStoreSeams& seams) {
    auto state = std::make_unique<State>(seams);
    OSTAL_TRY(state->trust, security::TrustStore::open(seams.files, seams.anchors_folder,
                                                       join_path(seams.state_folder, "keystore/trust")));
    for (const std::string& problem : state->trust->problems()) {
        state->alarms.push_back("a trust anchor cannot be used: " + problem);
    }
    OSTAL_TRYV(state->recover());
    return std::unique_ptr<ModelStore>(new ModelStore(std::move(state)));
}

const std::vector<std::string>& ModelStore::alarms() const { return state_->alarms; }
security::TrustStore& ModelStore::trust() { return *state_->trust; }
const ModelStoreSeams& ModelStore::seams() const { return state_->seams; }

std::string ModelStore::version_folder(const std::string& model, std::uint64_t version) const {
    return state_->version_folder(model, version);
}

ModelStore::State::NameGuard::~NameGuard() {
    if (state_ == nullptr) return;
    const std::lock_guard lock(state_->busy_mutex);
    state_->busy.erase(name_);
}

Result<ModelStore::State::NameGuard> ModelStore::State::guard(const std::string& model) {
    const std::lock_guard lock(busy_mutex);
    if (!busy.insert(model).second) return conflict("another change of " + model + " is under way");
    return NameGuard(this, model);
}

Result<std::unique_lock<std::mutex>> ModelStore::lock_imports() {
    std::unique_lock lock(state_->imports, std::try_to_lock);
    if (!lock.owns_lock()) return conflict("another import is running");
    return lock;
}

// ---- reading ----

Result<std::vector<ModelVersion>> ModelStore::list() const {
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    OSTAL_TRY(const auto names, read_model_names(tx));
    std::vector<ModelVersion> out;
    for (const std::string& name : names) {
        OSTAL_TRY(const auto row, read_name(tx, name));
        OSTAL_TRY(auto versions, read_versions(tx, name));
        for (ModelVersion& version : versions) {
            state_->complete(version, *row);
            out.push_back(std::move(version));
        }
    }
    return out;
}

Result<ModelVersion> ModelStore::get(const std::string& model, std::uint64_t version) const {
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    OSTAL_TRY(ModelVersion found, read_version(tx, model, version));
    OSTAL_TRY(const auto row, read_name(tx, model));
    state_->complete(found, *row);
    return found;
}

Result<std::optional<ModelVersion>> ModelStore::serving(const std::string& model) const {
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    OSTAL_TRY(const auto row, read_name(tx, model));
    if (!row || !row->serving) return std::optional<ModelVersion>();
    OSTAL_TRY(ModelVersion found, read_version(tx, model, *row->serving));
    state_->complete(found, *row);
    return std::optional<ModelVersion>(std::move(found));
}

Result<std::uint64_t> ModelStore::floor(const std::string& model) const {
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    OSTAL_TRY(const auto row, read_name(tx, model));
    return state_->floor_of(model, row.value_or(NameRow{}));
}

Result<std::set<security::Id>> ModelStore::data_keys() const {
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    OSTAL_TRY(const auto rows, (tx.query<security::Id>("SELECT dek_id FROM model_files")));
    std::set<security::Id> out;
    for (const auto& [id] : rows) out.insert(id);
    return out;
}

// ---- approval ----

Result<ModelVersion> ModelStore::approve(const std::string& model, std::uint64_t version,
                                         const std::string& manifest_sha256, const security::Id& approver,
                                         int required) {
    OSTAL_TRY(const auto guard, state_->guard(model));
    const std::int64_t now = state_->seams.clock.wall_now_us();
    OSTAL_TRY(auto tx, state_->seams.database.begin_write());
    OSTAL_TRY(ModelVersion found, read_version(tx, model, version));
    if (found.state != VersionState::kVerified) {
        return conflict(name_of(found) + " is " + std::string(version_state_name(found.state)) +
                        ", only a verified version is approved");
    }
    if (found.manifest_sha256 != manifest_sha256) {
        return conflict(name_of(found) + " has the manifest " + found.manifest_sha256 +
                        ", not the one that was to be approved");
    }
    if (required > 1 && approver == found.imported_by) {
        return fail(Code::kPermissionDenied, "who imported " + name_of(found) + " cannot approve it");
    }
    OSTAL_TRYV(
        tx.execute("INSERT INTO model_approvals(version_id, approver, approved_us, manifest_sha256) "
                   "VALUES (?, ?, ?, ?) ON CONFLICT (version_id, approver) DO UPDATE SET "
                   "approved_us = excluded.approved_us, manifest_sha256 = excluded.manifest_sha256",
                   {found.id, approver, now, manifest_sha256}));
    OSTAL_TRY(found, read_version(tx, model, version));
    if (counting(found, now).size() >= static_cast<std::size_t>(std::max(1, required))) {
        OSTAL_TRYV(write_state(tx, found.id, VersionState::kApproved));
    }
    OSTAL_TRYV(tx.commit());
    return get(model, version);
}

// ---- the end of a version ----

Status ModelStore::retire(const std::string& model, std::uint64_t version) {
    OSTAL_TRY(const auto guard, state_->guard(model));
    std::set<security::Id> keys;
    security::Id id{};
    {
        OSTAL_TRY(auto tx, state_->seams.database.begin_write());
        OSTAL_TRY(const ModelVersion found, read_version(tx, model, version));
        OSTAL_TRY(const auto row, read_name(tx, model));
        if (row->serving == version)
            return conflict(name_of(found) + " serves: activate another version first");
        if (row->previous == version) return conflict(name_of(found) + " is kept for rollback");
        OSTAL_TRY(keys, file_keys(tx, found.id));
        OSTAL_TRYV(write_state(tx, found.id, VersionState::kRetired));
        OSTAL_TRYV(tx.commit());
        id = found.id;
    }
    // Keys first: without them the files are noise. A repetition after a crash finds some keys gone already.
    for (const security::Id& key : keys) {
        auto erased = state_->seams.keyring.erase_dek(key);
        if (!erased && erased.error().code() != Code::kNotFound) return erased;
    }
    OSTAL_TRYV(remove_tree(state_->seams.files, version_folder(model, version)));
    OSTAL_TRY(auto tx, state_->seams.database.begin_write());
    OSTAL_TRYV(tx.execute("DELETE FROM model_files WHERE version_id = ?", {id}));
    return tx.commit();
}

}  // namespace ostal
