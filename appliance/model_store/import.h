// Import of a signed bundle: from a medium to sealed files that are known to the model store.
//
//   1. metadata is copied to staging/<id>/ and the copy is verified, by a worker and again here
//   2. the medium holds exactly what is listed: each version whole or not at all, nothing else
//   3. targets are copied to staging, hashed on the way; length and digest are the signed ones
//   4. a worker looks into the copies: kinds of files, and whether the engine can read the model
//   5. copies are hashed again while they are encrypted into .ostw (digest and chunk root must come out)
//   6. roots and versions seen are recorded, folders take their place, rows make the versions known
//
// After an error or a crash at any point the store has the versions it had before, or the new ones; staging
// is swept at the next start. A refusal before step 6 leaves trust as it was, too.
//
// A medium with metadata alone admits versions again that are here already (after a change of keys).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/model_store/medium.h"
#include "appliance/model_store/store.h"
#include "appliance/model_store/verify.h"

namespace ostal {

struct ImportProgress {
    enum class Stage { kCopying, kChecking, kSealing };
    Stage stage = Stage::kCopying;
    std::string file;              // of the moment
    std::uint64_t done_bytes = 0;  // of this stage
    std::uint64_t total_bytes = 0;
};

struct ImportOptions {
    security::Id imported_by{};
    VerifyRunner runner;  // the zygote's, or run_in_process
    // Called about once a MiB; false stops the import (kCancelled).
    std::function<bool(const ImportProgress&)> progress;
    // Only this model, or this version of it, of a medium that holds more.
    std::optional<std::string> only_model;
    std::optional<std::uint64_t> only_version;
};

struct ImportedVersion {
    enum class Outcome { kImported, kAdmittedAgain };
    std::string model;
    std::uint64_t version = 0;
    Outcome outcome = Outcome::kImported;
    std::string manifest_sha256;
    std::uint64_t total_bytes = 0;
};
struct ImportReport {
    std::string anchor;
    std::vector<ImportedVersion> versions;  // never empty
};
json::Value to_json(const ImportReport& report);

// Errors: those of verifier.h and medium.h (kIntegrity 7), "below_floor" (kIntegrity, names both versions),
// kConflict ("other_anchor", "other_content", or another import runs), kUnsupported ("file_kind",
// "unreadable_model"), kNotFound "nothing_to_import", kNoSpace, kCancelled, kUnavailable (no worker), kIo.
// Blocks for the whole import.
Result<ImportReport> import_medium(ModelStore& store, const Medium& medium, const ImportOptions& options);

}  // namespace ostal
