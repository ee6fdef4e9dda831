// What a crash cut off, and disagreements between the two places of the floors. Runs at open().
#include <algorithm>

#include "appliance/model_store/store_state.h"

namespace ostal {
namespace {

using security::MetadataRole;

std::string text_of(const std::optional<std::uint64_t>& version) {
    return version ? "version " + std::to_string(*version) : "none";
}

Result<bool> exists(Files& files, const std::string& path) {
    const auto info = files.info(path);
    if (info) return true;
    if (info.error().code() == Code::kNotFound) return false;
    return fail(info.error());
}

}  // namespace

Status ModelStore::State::recover() {
    OSTAL_TRYV(make_directories(seams.files, models_folder()));
    OSTAL_TRYV(sweep_staging());
    OSTAL_TRYV(sweep_folders());
    bool rows_have_floors = false;
    {
        OSTAL_TRY(auto tx, seams.database.begin_read());
        OSTAL_TRY(const auto count,
                  (tx.query_one<std::int64_t>("SELECT count(*) FROM model_names WHERE floor > 0")));
        rows_have_floors = std::get<0>(*count) > 0;
    }
    OSTAL_TRYV(load_floors(rows_have_floors));
    OSTAL_TRYV(settle_trials());
    OSTAL_TRYV(settle_floors());
    OSTAL_TRYV(settle_seen());
    return finish_all_staged();
}

// Nothing in staging outlives the import that made it.
Status ModelStore::State::sweep_staging() {
    const std::string folder = join_path(seams.state_folder, "staging");
    OSTAL_TRYV(make_directories(seams.files, folder));
    OSTAL_TRY(const auto names, seams.files.list_directory(folder));
    for (const std::string& name : names) OSTAL_TRYV(remove_tree(seams.files, join_path(folder, name)));
    return {};
}

// Folders that took their place but never got a row, and those of versions that were retired.
Status ModelStore::State::sweep_folders() {
    std::set<std::string> known;
    {
        OSTAL_TRY(auto tx, seams.database.begin_read());
        OSTAL_TRY(const auto names, read_model_names(tx));
        for (const std::string& name : names) {
            OSTAL_TRY(const auto versions, read_versions(tx, name));
            for (const ModelVersion& version : versions) {
                if (version.has_files) known.insert(version_folder(name, version.version));
            }
        }
    }
    OSTAL_TRY(const auto models, seams.files.list_directory(models_folder()));
    for (const std::string& model : models) {
        const std::string folder = join_path(models_folder(), model);
        OSTAL_TRY(const FileInfo info, seams.files.info(folder));
        if (info.kind != FileInfo::Kind::kDirectory) continue;
        OSTAL_TRY(const auto versions, seams.files.list_directory(folder));
        for (const std::string& version : versions) {
            const std::string path = join_path(folder, version);
            if (!known.contains(path)) OSTAL_TRYV(remove_tree(seams.files, path));
        }
    }
    // A replaced admission record may have left its temporary file.
    for (const std::string& folder : known) {
        const std::string temporary = join_path(folder, std::string(kAdmissionFile) + ".new");
        OSTAL_TRY(const bool is_there, exists(seams.files, temporary));
        if (is_there) OSTAL_TRYV(seams.files.remove_file(temporary));
    }
    return {};
}

// A version on trial: finished when the floor file says that it passed, given up otherwise.
Status ModelStore::State::settle_trials() {
    std::vector<std::pair<std::string, std::uint64_t>> trials;
    std::vector<std::pair<std::string, std::uint64_t>> passed;
    {
        OSTAL_TRY(auto tx, seams.database.begin_read());
        OSTAL_TRY(const auto names, read_model_names(tx));
        for (const std::string& name : names) {
            OSTAL_TRY(const auto row, read_name(tx, name));
            OSTAL_TRY(const auto versions, read_versions(tx, name));
            for (const ModelVersion& version : versions) {
                if (version.state != VersionState::kActive) continue;
                (has_passed(name, *row, version.version) ? passed : trials).emplace_back(name, version.version);
            }
        }
    }
    for (const auto& [name, version] : passed) OSTAL_TRYV(confirm(name, version));
    for (const auto& [name, version] : trials) {
        seams.log.warning("the trial of a model version was cut off and is given up",
                          {{"model", name}, {"version", std::to_string(version)}});
        OSTAL_TRYV(fall_back(name, version));
    }
    return {};
}

// The higher floor holds, with its mark; a disagreement is an alarm.
Status ModelStore::State::settle_floors() {
    OSTAL_TRY(auto tx, seams.database.begin_write());
    OSTAL_TRY(const auto names, read_model_names(tx));
    security::Floors changed;
    for (const std::string& name : names) {
        OSTAL_TRY(auto row, read_name(tx, name));
        const security::Floor in_rows{row->floor, row->previous};
        const security::Floor in_file = file_floor(model_floor_name(name));
        if (in_rows == in_file) continue;
        alarms.push_back("the floors of " + name + " disagree: the database says version " +
                         std::to_string(in_rows.version) + " (previous: " + text_of(in_rows.previous) +
                         "), the floor file says version " + std::to_string(in_file.version) +
                         " (previous: " + text_of(in_file.previous) + "); the higher one holds");
        // At equal floors the file's mark holds: it is authenticated.
        const security::Floor settled = in_rows.version > in_file.version ? in_rows : in_file;
        row->floor = settled.version;
        row->previous = settled.previous;
        OSTAL_TRYV(write_name(tx, name, *row));
        changed[model_floor_name(name)] = settled;
    }
    OSTAL_TRYV(put_floors(changed));
    return tx.commit();
}

Status ModelStore::State::settle_seen() {
    OSTAL_TRY(auto tx, seams.database.begin_write());
    security::Floors changed;
    for (const std::string& anchor : trust->anchors()) {
        for (const MetadataRole role :
             {MetadataRole::kTimestamp, MetadataRole::kSnapshot, MetadataRole::kTargets}) {
            const std::string_view name = security::metadata_role_name(role);
            OSTAL_TRY(const auto row,
                      (tx.query_one<std::int64_t>(
                          "SELECT version FROM trust_seen WHERE anchor = ? AND role = ?", {anchor, name})));
            const std::uint64_t in_rows = row ? static_cast<std::uint64_t>(std::get<0>(*row)) : 0;
            const std::uint64_t in_file = file_floor(role_floor_name(anchor, role)).version;
            if (in_rows == in_file) continue;
            alarms.push_back("the " + std::string(name) + " metadata seen of " + anchor +
                             " disagrees: the database says " + std::to_string(in_rows) +
                             ", the floor file " + std::to_string(in_file) + "; the higher one holds");
            const std::uint64_t settled = std::max(in_rows, in_file);
            if (settled != in_rows) {
                OSTAL_TRYV(tx.execute(
                    "INSERT INTO trust_seen(anchor, role, version, digest) VALUES (?, ?, ?, '') "
                    "ON CONFLICT (anchor, role) DO UPDATE SET version = excluded.version, digest = ''",
                    {anchor, name, static_cast<std::int64_t>(settled)}));
            }
            changed[role_floor_name(anchor, role)] = {settled, std::nullopt};
        }
        const auto root = newest_root(anchor);
        if (!root) alarms.push_back(root.error().to_string());
    }
    OSTAL_TRYV(put_floors(changed));
    return tx.commit();
}

// Versions whose files are in place but were not opened yet. One that does not open stays staged, with an
// alarm.
Status ModelStore::State::finish_all_staged() {
    std::vector<ModelVersion> staged;
    {
        OSTAL_TRY(auto tx, seams.database.begin_read());
        OSTAL_TRY(const auto names, read_model_names(tx));
        for (const std::string& name : names) {
            OSTAL_TRY(auto versions, read_versions(tx, name));
            for (ModelVersion& version : versions) {
                if (version.state == VersionState::kStaged) staged.push_back(std::move(version));
            }
        }
    }
    for (const ModelVersion& version : staged) {
        const Status finished = finish_staged(version);
        if (finished) continue;
        alarms.push_back(version.model + " version " + std::to_string(version.version) +
                         " cannot be verified: " + finished.error().to_string());
    }
    return {};
}

}  // namespace ostal
