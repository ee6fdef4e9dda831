// A repository folder on the signing side: its metadata, who has signed what, and writing it again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "security/crypto/ed25519.h"
#include "security/signature/signer.h"
#include "security/signature/verifier.h"

namespace ostal::bundle {

using Keys = std::vector<const security::Ed25519PrivateKey*>;

// What stands in metadata/. Parsed, and not trusted by that.
struct Repository {
    std::string folder;
    std::vector<Bytes> roots;  // from version 1
    std::optional<Bytes> targets;
    std::optional<Bytes> snapshot;
    std::optional<Bytes> timestamp;
};

// An absent folder is an empty repository. kIntegrity when there are two of a role, or gaps in the roots.
Result<Repository> read_repository(Files& files, const std::string& folder);
Result<security::Root> newest_root(const Repository& repository);

// Appends roots that follow; those that are there already must be the same (kConflict). kInvalidArgument for
// a gap, kIntegrity when a step is not signed by both sides.
Status add_roots(Repository& repository, const std::vector<Bytes>& roots);

struct RoleState {
    security::MetadataRole role = security::MetadataRole::kRoot;
    std::uint64_t version = 0;
    std::uint32_t signatures = 0;  // valid ones, of distinct keys of the role
    std::uint32_t threshold = 1;
    bool is_stale = false;  // it lists another file than the one that is there: it must be made again
    bool is_complete() const { return signatures >= threshold && !is_stale; }
};
// Of every role that has a file, judged by the newest root.
Result<std::vector<RoleState>> role_states(const Repository& repository);

// New targets, and the snapshot and timestamp that list them, under these heads.
struct Release {
    security::MetadataHead targets;
    security::MetadataHead snapshot;
    security::MetadataHead timestamp;
};
Status make_release(Repository& repository, const std::vector<security::Target>& targets,
                    const Release& release, const Keys& keys);

// Adds signatures by the keys wherever a role has them. Where the signature of targets or snapshot changed a
// file that is listed elsewhere, the lists are made again if one of the keys may sign them.
Status add_signatures(Repository& repository, const Keys& keys);

// Writes every file durably, the timestamp last, then removes metadata that is no longer listed. Everybody
// may read the folder: it is public, and an appliance reads it under another user.
Status write_repository(Files& files, const Repository& repository);
// Files 0644, folders 0755, the path and all below.
Status make_readable(const std::string& path);

}  // namespace ostal::bundle
