// Verification of an audit log from its files alone: no daemon, no database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "base/result.h"
#include "security/audit/scan.h"

namespace ostal::security {

// The state of a log at one moment, from its writer (AuditLog::snapshot): what it changes afterwards is not
// looked at. Closed bundles and tiles never change.
struct AuditSnapshot {
    AuditScan scan;
    std::optional<std::string> checkpoint;  // its text
    std::uint64_t open_number = 0;          // of wal/<n>
    Bytes open_bundle;                      // its records
    std::uint64_t mac_bytes = 0;
};

struct AuditVerifyOptions {
    std::string folder;
    // Of a log that is being written; outlives the call. Without it the folder is read as it is, and again a
    // few times when its writer moved something meanwhile.
    const AuditSnapshot* snapshot = nullptr;
    // Text of a verifier key (C2SP note: `name+hash+base64`) that came another way than with the log.
    // Without it log.vkey is used, which proves consistency and not authorship: who can rewrite the log can
    // rewrite log.vkey.
    std::optional<std::string> verifier_key;
    // Text of an older checkpoint: the log must be an extension of it. Only this finds a log that was cut
    // back to one of its earlier checkpoints.
    std::optional<std::string> older_checkpoint;
    // K_audit0, 32 bytes: checks every MAC.
    std::optional<Bytes> mac_key;
};

struct AuditVerdict {
    bool ok = false;
    bool authorship = false;  // the signature was checked with a key given from outside
    bool macs_checked = false;
    std::uint64_t records = 0;          // read, in whole
    std::uint64_t checkpoint_size = 0;  // under the checkpoint's signature
    std::string root;                   // base64
    // The first record that a leaf hash, a `prev` or a MAC stands against.
    std::optional<std::uint64_t> first_bad;
    // Otherwise the records among which the first bad one is: [bad_from, bad_to).
    std::uint64_t bad_from = 0;
    std::uint64_t bad_to = 0;
    std::string problem;             // one line; "" when ok
    std::vector<std::string> notes;  // what the proof does not cover
};

// An Error only when the folder cannot be read at all or an option is malformed.
Result<AuditVerdict> verify_audit(const AuditVerifyOptions& options, Files& files);

}  // namespace ostal::security
