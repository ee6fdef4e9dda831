// The model store: which versions of which models this appliance has, who approved them, which one serves.
//
// Files:  models/<model>/<version>/<file>.ostw and admission.json (the metadata that admitted the version);
//         keystore/trust/<anchor>/<N>.root.json; keystore/floor; staging/ while something is imported.
// Tables: model_name, model_version, model_file, model_approval, trust_seen (db/ostal.db).
//
// States: staged (files in place) -> verified (opened and compared with the signed manifest) -> approved (by
// as many persons as are asked for) -> active (chosen to serve, on trial) -> confirmed (passed its health
// gate), and retired. A trial that fails makes the version approved again. For each name one version serves,
// and one may be marked `previous`: the one that served before, kept for rollback.
//
// Floor of a name: the highest version ever confirmed, in ostal.db and, MACed, in keystore/floor. Loadable
// are the versions at or above it, and `previous` where both places agree on it. State and mark change in one
// transaction.
//
// Every step is durable when it returns and may be repeated. A step that was cut off by a crash is finished
// or undone by open(): staging is swept, folders without a row are removed, a trial that was running is given
// up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "appliance/model_store/sealed_source.h"
#include "appliance/model_store/verify.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/result.h"
#include "security/signature/trust_store.h"
#include "security/storage/database.h"
#include "security/storage/ids.h"
#include "security/storage/keyring.h"

namespace ostal {

struct ModelStoreSeams {
    Files& files;
    const Clock& clock;
    RandomSource& random;
    LogSink& log;
    security::Database& database;  // db/ostal.db
    security::Keyring& keyring;    // unsealed as long as the store lives
    std::string state_folder;
    std::string anchors_folder;  // trust.d
};

enum class VersionState { kStaged, kVerified, kApproved, kActive, kConfirmed, kRetired };
std::string_view version_state_name(VersionState state);  // "staged" ... "retired"

struct Approval {
    security::Id approver{};
    std::int64_t approved_us = 0;
    std::string manifest_sha256;  // hex: exactly this was approved
};

struct ModelVersion {
    security::Id id{};
    std::string model;
    std::uint64_t version = 0;
    VersionState state = VersionState::kStaged;
    bool is_serving = false;   // the one that answers requests for this model
    bool is_previous = false;  // marked for rollback
    bool is_loadable = false;  // by floor and mark; signatures are checked at each load
    bool has_files = false;    // false once retired
    std::string anchor;
    std::string manifest_sha256;  // hex
    std::string format;
    std::string default_system;
    std::string license;
    std::uint64_t total_bytes = 0;
    std::uint64_t file_count = 0;
    std::int64_t imported_us = 0;
    security::Id imported_by{};
    std::vector<Approval> approvals;
};

// A version ready to be given to the engine.
struct OpenedVersion {
    security::ModelManifest manifest;
    std::unique_ptr<SealedSource> source;
};

// Loads the version and lets it answer a known prompt. An error makes the store fall back.
using HealthGate = std::function<Status(const std::string& model, std::uint64_t version)>;
// Bytes done and in all; false asks to stop (kCancelled).
using Progress = std::function<bool(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

// Thread-safe. One import and one change of a name's states at a time; reads never wait for either.
class ModelStore {
public:
    // Reads trust and floors, and finishes or undoes what a crash cut off. kIo, kIntegrity of the database;
    // disagreements are alarms(), not errors.
    static Result<std::unique_ptr<ModelStore>> open(const ModelStoreSeams& seams);
    ~ModelStore();
    ModelStore(const ModelStore&) = delete;
    ModelStore& operator=(const ModelStore&) = delete;

    // What an auditor must see: floors that disagree (the higher one holds), a floor file that was altered or
    // removed, unusable anchors. One sentence each; found by open().
    const std::vector<std::string>& alarms() const;
    security::TrustStore& trust();

    // Sorted by model, newest version first.
    Result<std::vector<ModelVersion>> list() const;
    Result<ModelVersion> get(const std::string& model, std::uint64_t version) const;  // kNotFound
    // The version that answers requests, if any.
    Result<std::optional<ModelVersion>> serving(const std::string& model) const;
    Result<std::uint64_t> floor(const std::string& model) const;  // 0: none
    // Data keys that rows name: with those of other tables, what a sweep of orphans must keep.
    Result<std::set<security::Id>> data_keys() const;

    // A person approves exactly the manifest with this digest. At `required` distinct persons within 24 hours
    // the version is approved; the importer does not count when two are required. kConflict in another state
    // than verified or for another digest; kPermissionDenied for the importer.
    Result<ModelVersion> approve(const std::string& model, std::uint64_t version,
                                 const std::string& manifest_sha256, const security::Id& approver,
                                 int required);

    // Makes an approved version serve: active, then the gate, then confirmed (which raises the floor). When
    // the gate fails the version that served before serves again and the gate's error comes back. The gate
    // runs outside of any transaction. kConflict: not approved (or already serving); kIntegrity "below_floor"
    // names both versions; with two required approvals kPermissionDenied for one of the approvers.
    Result<ModelVersion> activate(const std::string& model, std::uint64_t version, const security::Id& actor,
                                  int required, const HealthGate& gate);
    // Makes `previous` serve again, through the gate. The version that served becomes approved. kConflict
    // when there is none or it serves already.
    Result<ModelVersion> rollback(const std::string& model, const security::Id& actor,
                                  const HealthGate& gate);
    // Ends a version for good: its keys are erased, then its files. kConflict for one that serves or is
    // previous.
    Status retire(const std::string& model, std::uint64_t version);

    // For a load: signatures against the newest trusted root, floor, headers against the signed manifest.
    // kNotFound; kConflict (state), kIntegrity with a reason of verifier.h or "below_floor".
    Result<OpenedVersion> open_version(const std::string& model, std::uint64_t version) const;
    // Reads every byte of a version and compares the digests. A staged version becomes verified.
    Status verify_version(const std::string& model, std::uint64_t version, const Progress& progress);

    // ---- for import.cpp ----

    // What a medium is judged against now.
    Result<TrustView> trust_view() const;
    const ModelStoreSeams& seams() const;
    std::string version_folder(const std::string& model, std::uint64_t version) const;
    // Held for the time of one import; kConflict when one runs.
    Result<std::unique_lock<std::mutex>> lock_imports();

    enum class Admission { kNew, kAgain, kNotNeeded };
    // Whether a listed version is to be sealed, is here already with the same manifest, or (no files on the
    // medium) does not concern us. kIntegrity "below_floor"; kConflict "other_anchor", "other_content".
    Result<Admission> judge(const std::string& anchor, const security::ModelManifest& manifest,
                            bool has_files) const;
    // Records what was seen and follows the medium's roots, durably, one root at a time.
    Status follow(const AnchoredRepository& verified, const security::MetadataFiles& files);
    // Moves a folder of sealed files to its place and makes the version known: staged, then verified.
    Status admit(const std::string& anchor, const security::ModelManifest& manifest,
                 const std::string& sealed_folder,
                 const std::vector<std::pair<std::string, security::Id>>& file_keys,
                 const security::Id& imported_by);
    // Replaces the metadata that admitted a version by newer metadata that lists the same.
    Status readmit(const security::ModelManifest& manifest, ByteSpan admission);

private:
    struct State;
    explicit ModelStore(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// The file admission.json: {"anchor": name, "targets": text of the metadata file}.
inline constexpr std::string_view kAdmissionFile = "admission.json";
Bytes make_admission(const std::string& anchor, ByteSpan targets_file);

}  // namespace ostal
