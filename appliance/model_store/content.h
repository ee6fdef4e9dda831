// Matching a medium with what its metadata lists, and the digests of target files.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "appliance/model_store/medium.h"
#include "base/result.h"
#include "security/crypto/content_hasher.h"
#include "security/signature/manifest.h"

namespace ostal {

// kIntegrity "mismatch" names the file and what differs.
Status check_digest(const security::Target& target, const security::ContentDigest& digest);

struct PresentVersion {
    security::ModelManifest manifest;
    bool has_files = false;  // all of them; a version has all its files on the medium or none
};
// Each listed version and whether the medium holds it. kIntegrity "missing" (some files of a version) or
// "extra" (a file that is not listed) names the file.
Result<std::vector<PresentVersion>> match_targets(const security::Targets& targets, const Medium& medium);
// The pieces of a target that the medium holds.
const std::vector<File*>& pieces_of(const security::Target& target, const Medium& medium);

// All metadata of a medium, each file at most 4 MiB.
Result<std::map<std::string, Bytes>> read_metadata(const Medium& medium);

}  // namespace ostal
