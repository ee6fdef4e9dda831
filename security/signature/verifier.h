// Verification of a signed repository: from a trusted root to the files that may be imported.
//
// Source: TUF 1.0, "Detailed client workflow" 5.3 to 5.6, run over a set of files at hand instead of a
// network. Pure functions of their arguments; any thread. Every refusal is kIntegrity with one of the reasons
//   "malformed", "unsupported", "too_large" (manifest.h), "missing", "extra", "mismatch" (length or digest),
//   "bad_signature", "below_threshold", "unknown_key", "expired", "metadata_rollback", "wrong_root".
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "security/signature/manifest.h"

namespace ostal::security {

// How far an anchor's metadata has been seen. Never goes back, except that a root which replaces the keys of
// a role starts that role anew (recovery from a fast-forward by a stolen key; TUF 5.3.11).
struct SeenRole {
    std::uint64_t version = 0;  // 0: nothing seen
    std::string digest;         // hex SHA-256 of the canonical `signed` of that version; empty: not known
    friend bool operator==(const SeenRole&, const SeenRole&) = default;
};
struct SeenVersions {
    SeenRole timestamp;
    SeenRole snapshot;
    SeenRole targets;
    SeenRole& of(MetadataRole role);  // not kRoot: CHECK
    friend bool operator==(const SeenVersions&, const SeenVersions&) = default;
};

// Files of the folder metadata/ by name: "1.root.json", "timestamp.json", "3.snapshot.json",
// "3.targets.json".
using MetadataFiles = std::map<std::string, Bytes>;
// "12.root.json" and 12, as consistent snapshots name files.
std::string metadata_file_name(MetadataRole role, std::uint64_t version);

// The metadata holds at least `threshold` valid signatures of distinct keys of the role. Keys are counted,
// not key ids. Signatures by keys that the role does not have are not counted. "unknown_key" names the
// signers' and the trusted fingerprints; "bad_signature" when a key of the role signed something else;
// "below_threshold" names both numbers.
Status check_signatures(const Root& root, MetadataRole role, const Metadata& metadata);

// `next` is signed by the thresholds of `trusted` and of itself and is exactly one version above.
Status check_root_step(const Root& trusted, const Root& next);
// The roles whose set of keys or threshold differs.
std::vector<MetadataRole> roles_with_changed_keys(const Root& from, const Root& to);
// Forgets what was seen of roles whose keys changed: timestamp and snapshot together, targets by itself.
SeenVersions after_root_change(const Root& from, const Root& to, SeenVersions seen);

struct VerifiedRepository {
    std::vector<std::string>
        new_roots;  // names in MetadataFiles of the roots above the trusted one, in order
    Root root;      // the newest
    Timestamp timestamp;
    Snapshot snapshot;
    Targets targets;
    std::string snapshot_file;  // names in MetadataFiles
    std::string targets_file;
    SeenVersions seen;  // to be recorded
};

// Walks root N -> N+1 ... -> timestamp -> snapshot -> targets. The medium carries every root from 1; those at
// or below the trusted one must be the chain that led to it ("wrong_root" otherwise). Every file is used, one
// that is not is "extra". Expiry of the newest root and of the other roles is judged against `now_us`.
Result<VerifiedRepository> verify_repository(const Root& trusted, const SeenVersions& seen,
                                             const MetadataFiles& files, std::int64_t now_us);

// An anchor with every root it has led to, oldest first, never empty.
struct AnchorChain {
    std::string name;
    std::vector<Root> roots;
};
// The anchor one of whose roots the medium carries. "unknown_key" names the medium's root keys and the
// trusted ones. It says whose medium this claims to be; verify_repository decides whether it is.
Result<const AnchorChain*> find_anchor(const std::vector<AnchorChain>& anchors, const MetadataFiles& files);

// For each load: the targets metadata that admitted a version still has the signatures that the newest
// trusted root asks for. Expiry is judged at import only.
Result<Targets> recheck_targets(const Root& newest, ByteSpan targets_bytes);

}  // namespace ostal::security
