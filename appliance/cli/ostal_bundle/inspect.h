// What a repository says of itself, unverified: for people who look at a medium.
#pragma once

#include <string>

#include "appliance/cli/ostal_bundle/repository.h"
#include "base/json.h"
#include "base/result.h"

namespace ostal::bundle {

// {"verified": false, "roles": [{role, version, expires, signatures, threshold, signers, complete}],
//  "versions": [{model, version, format, default_system, license, manifest_sha256, total_bytes,
//                files: [{name, layout, length, sha256, chunk_root}]}]}
Result<json::Object> inspect_repository(const Repository& repository);
std::string inspect_text(const json::Object& inspected);

}  // namespace ostal::bundle
