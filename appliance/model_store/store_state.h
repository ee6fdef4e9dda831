// Inside of the model store: its rows, and the pieces that its source files share.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "appliance/model_store/store.h"
#include "security/storage/floor_file.h"

namespace ostal {

inline constexpr std::string_view kTenant = "default";

struct NameRow {
    std::string anchor;
    std::uint64_t floor = 0;
    std::optional<std::uint64_t> serving;
    std::optional<std::uint64_t> previous;
    std::optional<std::uint64_t> restore_previous;
};

// Statements over one transaction.
Result<std::optional<NameRow>> read_name(security::Transaction& tx, const std::string& model);
Status write_name(security::Transaction& tx, const std::string& model, const NameRow& row);
// Without is_serving, is_previous, is_loadable. kNotFound.
Result<ModelVersion> read_version(security::Transaction& tx, const std::string& model, std::uint64_t version);
Result<std::vector<ModelVersion>> read_versions(security::Transaction& tx, const std::string& model);
Result<std::vector<std::string>> read_model_names(security::Transaction& tx);
Status write_state(security::Transaction& tx, const security::Id& id, VersionState state);

std::string model_floor_name(const std::string& model);
std::string role_floor_name(const std::string& anchor, security::MetadataRole role);

struct ModelStore::State {
    explicit State(const ModelStoreSeams& seams_in) : seams(seams_in) {}

    ModelStoreSeams seams;
    std::unique_ptr<security::TrustStore> trust;
    std::vector<std::string> alarms;
    std::mutex imports;

    // ---- floors: the file's content, kept in memory because it is authentic there ----
    security::Floor file_floor(const std::string& name) const;
    // Writes the file with these entries changed, then keeps them.
    Status put_floors(const security::Floors& changed);
    // What the file holds now, after a write of it failed.
    Status reread_floors();
    // Reads the file; an alarm when it is missing though rows have floors, or altered.
    Status load_floors(bool rows_have_floors);

    std::uint64_t floor_of(const std::string& model, const NameRow& row) const;
    bool is_loadable(const std::string& model, const NameRow& row, std::uint64_t version) const;
    Status check_loadable(const std::string& model, const NameRow& row, std::uint64_t version) const;
    void complete(ModelVersion& version, const NameRow& row) const;

    // ---- one change of a name at a time ----
    class NameGuard {
    public:
        NameGuard(State* state, std::string name) : state_(state), name_(std::move(name)) {}
        NameGuard(NameGuard&& other) noexcept
            : state_(std::exchange(other.state_, nullptr)), name_(std::move(other.name_)) {}
        NameGuard& operator=(NameGuard&&) = delete;
        ~NameGuard();

    private:
        State* state_;
        std::string name_;
    };
    Result<NameGuard> guard(const std::string& model);

    // ---- trials ----
    // The version on trial passed: floor file, then state, mark and floor in one transaction.
    Status confirm(const std::string& model, std::uint64_t version);
    // The floor file says that a trial was confirmed, the rows do not say it yet.
    bool has_passed(const std::string& model, const NameRow& row, std::uint64_t version) const;
    // After confirm() failed with `cause`: confirmed where the floor file says so, else fallen back, and `cause` is the
    // answer. When even that cannot be written the trial stays undecided: activate() takes it up again, or a restart.
    Status decide_trial(const std::string& model, std::uint64_t version, const Error& cause);
    // It did not: what served before serves again.
    Status fall_back(const std::string& model, std::uint64_t version);

    // ---- loads ----
    // kIntegrity when the trusted roots were taken back below what was recorded.
    Result<security::Root> newest_root(const std::string& anchor) const;
    // Opens the files of a staged version, which is verified then.
    Status finish_staged(const ModelVersion& version);
    // Signatures, manifest, headers; neither state nor floor.
    Result<OpenedVersion> open_files(const ModelVersion& version) const;
    std::string models_folder() const { return join_path(seams.state_folder, "models"); }
    std::string version_folder(const std::string& model, std::uint64_t version) const {
        return join_path(models_folder(), model + "/" + std::to_string(version));
    }

    // ---- what a crash cut off (recovery.cpp) ----
    Status recover();
    Status sweep_staging();
    Status sweep_folders();
    Status settle_trials();
    Status settle_floors();
    Status settle_seen();
    Status finish_all_staged();

    mutable std::mutex floors_mutex;
    security::Floors floors;
    std::mutex busy_mutex;
    std::set<std::string> busy;
};

}  // namespace ostal
