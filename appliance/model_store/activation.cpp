// Which version serves: trial, confirmation, fall-back, rollback.
#include <algorithm>

#include "appliance/model_store/store_state.h"

namespace ostal {
namespace {

tl::unexpected<Error> conflict(std::string why) { return fail(Code::kConflict, std::move(why)); }

bool has_approved(const ModelVersion& version, const security::Id& person) {
    return std::any_of(version.approvals.begin(), version.approvals.end(),
                       [&](const Approval& approval) { return approval.approver == person; });
}

// Versions that were confirmed once and may not be loaded any more end here; their files stay until `retire`.
Status retire_superseded(security::Transaction& tx, const std::string& model, const NameRow& row) {
    OSTAL_TRY(const auto versions, read_versions(tx, model));
    for (const ModelVersion& version : versions) {
        const bool is_kept =
            version.version >= row.floor || row.previous == version.version || row.serving == version.version;
        if (version.state == VersionState::kConfirmed && !is_kept) {
            OSTAL_TRYV(write_state(tx, version.id, VersionState::kRetired));
        }
    }
    return {};
}

}  // namespace

Status ModelStore::State::confirm(const std::string& model, std::uint64_t version) {
    std::optional<NameRow> row;
    {
        OSTAL_TRY(auto tx, seams.database.begin_read());
        OSTAL_TRY(row, read_name(tx, model));
    }
    row->floor = std::max(floor_of(model, *row), version);
    row->restore_previous.reset();
    // The file first: a crash between the two is seen at the next start (the version is on trial and the file
    // names it already) and finished there.
    OSTAL_TRYV(put_floors({{model_floor_name(model), {row->floor, row->previous}}}));
    OSTAL_TRY(auto tx, seams.database.begin_write());
    OSTAL_TRY(const ModelVersion found, read_version(tx, model, version));
    OSTAL_TRYV(write_state(tx, found.id, VersionState::kConfirmed));
    OSTAL_TRYV(write_name(tx, model, *row));
    OSTAL_TRYV(retire_superseded(tx, model, *row));
    return tx.commit();
}

bool ModelStore::State::has_passed(const std::string& model, const NameRow& row, std::uint64_t version) const {
    const security::Floor floor = file_floor(model_floor_name(model));
    return floor.version == version && floor.version > row.floor && floor.previous == row.previous;
}

Status ModelStore::State::decide_trial(const std::string& model, std::uint64_t version, const Error& cause) {
    OSTAL_TRYV(reread_floors());
    std::optional<NameRow> row;
    {
        OSTAL_TRY(auto tx, seams.database.begin_read());
        OSTAL_TRY(row, read_name(tx, model));
    }
    if (has_passed(model, *row, version)) return confirm(model, version);
    OSTAL_TRYV(fall_back(model, version));
    return fail(cause);
}

Status ModelStore::State::fall_back(const std::string& model, std::uint64_t version) {
    OSTAL_TRY(auto tx, seams.database.begin_write());
    OSTAL_TRY(const ModelVersion found, read_version(tx, model, version));
    OSTAL_TRY(auto row, read_name(tx, model));
    row->serving = row->previous;
    row->previous = row->restore_previous;
    row->restore_previous.reset();
    OSTAL_TRYV(write_state(tx, found.id, VersionState::kApproved));
    OSTAL_TRYV(write_name(tx, model, *row));
    return tx.commit();
}

Result<ModelVersion> ModelStore::activate(const std::string& model, std::uint64_t version,
                                          const security::Id& actor, int required, const HealthGate& gate) {
    OSTAL_TRY(const auto guard, state_->guard(model));
    {
        OSTAL_TRY(auto tx, state_->seams.database.begin_write());
        OSTAL_TRY(const ModelVersion found, read_version(tx, model, version));
        OSTAL_TRY(auto row, read_name(tx, model));
        // Nobody else changes this name now: a trial in the rows is one whose end could not be written.
        const bool is_undecided = row->serving == version && found.state == VersionState::kActive;
        if (row->serving == version && !is_undecided)
            return conflict(model + " version " + std::to_string(version) + " serves already");
        if (found.state != VersionState::kApproved && !is_undecided) {
            return conflict(model + " version " + std::to_string(version) + " is " +
                            std::string(version_state_name(found.state)) +
                            ", only an approved version is activated");
        }
        if (required > 1 && has_approved(found, actor)) {
            return fail(Code::kPermissionDenied, "who approved " + model + " version " +
                                                     std::to_string(version) + " cannot activate it");
        }
        OSTAL_TRYV(state_->check_loadable(model, *row, version));
        if (!is_undecided) {
            row->restore_previous = row->previous;
            row->previous = row->serving;
            row->serving = version;
            OSTAL_TRYV(write_state(tx, found.id, VersionState::kActive));
            OSTAL_TRYV(write_name(tx, model, *row));
            OSTAL_TRYV(tx.commit());
        }
    }
    auto passed = gate(model, version);
    if (!passed) {
        OSTAL_TRYV(state_->fall_back(model, version));
        return fail(std::move(passed).error().with("in the trial of " + model + " version " +
                                                   std::to_string(version)));
    }
    if (const auto confirmed = state_->confirm(model, version); !confirmed) {
        OSTAL_TRYV(state_->decide_trial(model, version, confirmed.error()));
    }
    return get(model, version);
}

Result<ModelVersion> ModelStore::rollback(const std::string& model, const security::Id&,
                                          const HealthGate& gate) {
    OSTAL_TRY(const auto guard, state_->guard(model));
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    const auto move = [&](std::uint64_t serving, const security::Id& changed, VersionState state) -> Status {
        OSTAL_TRY(auto tx, state_->seams.database.begin_write());
        OSTAL_TRY(auto row, read_name(tx, model));
        row->serving = serving;
        OSTAL_TRYV(write_state(tx, changed, state));
        OSTAL_TRYV(write_name(tx, model, *row));
        return tx.commit();
    };
    ModelVersion leaving;
    {
        OSTAL_TRY(auto tx, state_->seams.database.begin_read());
        OSTAL_TRY(const auto row, read_name(tx, model));
        if (!row) return fail(Code::kNotFound, "there is no model " + model);
        if (!row->previous || !row->serving) return conflict(model + " has no version to roll back to");
        if (row->previous == row->serving) return conflict(model + " was rolled back already");
        from = *row->serving;
        to = *row->previous;
        OSTAL_TRYV(state_->check_loadable(model, *row, to));
        OSTAL_TRY(leaving, read_version(tx, model, from));
    }
    OSTAL_TRYV(move(to, leaving.id, VersionState::kApproved));
    auto passed = gate(model, to);
    if (!passed) {
        OSTAL_TRYV(move(from, leaving.id, leaving.state));
        return fail(std::move(passed).error().with("while rolling " + model + " back to version " +
                                                   std::to_string(to)));
    }
    return get(model, to);
}

}  // namespace ostal
