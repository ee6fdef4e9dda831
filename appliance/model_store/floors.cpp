// Floors: the two places that must agree, and what may be loaded.
#include "appliance/model_store/store_state.h"

namespace ostal {
namespace {

std::string floor_path(const ModelStoreSeams& seams) {
    return join_path(seams.state_folder, "keystore/floor");
}

}  // namespace

security::Floor ModelStore::State::file_floor(const std::string& name) const {
    const std::lock_guard lock(floors_mutex);
    const auto found = floors.find(name);
    return found == floors.end() ? security::Floor{} : found->second;
}

Status ModelStore::State::put_floors(const security::Floors& changed) {
    const std::lock_guard lock(floors_mutex);
    security::Floors next = floors;
    for (const auto& [name, floor] : changed) next[name] = floor;
    if (next == floors) return {};
    OSTAL_TRY(const auto key, seams.keyring.service_key(security::ServiceKey::kFloor));
    OSTAL_TRYV(make_directories(seams.files, join_path(seams.state_folder, "keystore")));
    OSTAL_TRYV(security::write_floor_file(seams.files, floor_path(seams), key.view(), next));
    floors = std::move(next);
    return {};
}

Status ModelStore::State::reread_floors() {
    OSTAL_TRY(const auto key, seams.keyring.service_key(security::ServiceKey::kFloor));
    auto read = security::read_floor_file(seams.files, floor_path(seams), key.view());
    if (!read && read.error().code() == Code::kNotFound) return {};
    if (!read) return fail(std::move(read).error());
    const std::lock_guard lock(floors_mutex);
    floors = std::move(*read);
    return {};
}

Status ModelStore::State::load_floors(bool rows_have_floors) {
    OSTAL_TRY(const auto key, seams.keyring.service_key(security::ServiceKey::kFloor));
    auto read = security::read_floor_file(seams.files, floor_path(seams), key.view());
    if (read) {
        floors = std::move(*read);
        return {};
    }
    if (read.error().code() == Code::kNotFound) {
        if (rows_have_floors) alarms.push_back("the floor file is missing: the floors of the database hold");
        return {};
    }
    if (read.error().code() != Code::kIntegrity) return fail(std::move(read).error());
    alarms.push_back("the floor file was altered: the floors of the database hold");
    return {};
}

std::uint64_t ModelStore::State::floor_of(const std::string& model, const NameRow& row) const {
    return std::max(row.floor, file_floor(model_floor_name(model)).version);
}

bool ModelStore::State::is_loadable(const std::string& model, const NameRow& row,
                                    std::uint64_t version) const {
    if (version >= floor_of(model, row)) return true;
    return row.previous == version && file_floor(model_floor_name(model)).previous == version;
}

Status ModelStore::State::check_loadable(const std::string& model, const NameRow& row,
                                         std::uint64_t version) const {
    if (is_loadable(model, row, version)) return {};
    return fail(
        Error(Code::kIntegrity, model + " version " + std::to_string(version) +
                                    " is below the floor, version " + std::to_string(floor_of(model, row)) +
                                    " was confirmed here: older content needs a higher version number")
            .because("below_floor"));
}

void ModelStore::State::complete(ModelVersion& version, const NameRow& row) const {
    version.is_serving = row.serving == version.version;
    version.is_previous = row.previous == version.version;
    version.is_loadable = version.has_files && version.state != VersionState::kRetired &&
                          is_loadable(version.model, row, version.version);
}

}  // namespace ostal
