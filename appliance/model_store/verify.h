// The jobs of a verify worker: the only code that parses what a medium holds before it is known to be signed.
//
// A job is a request (JSON text) and open descriptors, and answers with JSON text, so that it can cross the
// zygote's socket (security/sandbox/zygote.h). It reads descriptors and memory and does nothing else. The
// tools run the same jobs in their own process (`run_in_process`).
//
//   metadata: descriptors of the files of metadata/. Verifies them from the trusted roots and the versions
//   seen
//             (both in the request) and says whose medium it is and what it lists.
//   model:    descriptors of all files of one version, their digests already right. Checks the first bytes of
//             each (no pickle, zip, program ... under an allowed name) and that the engine can read the
//             model.
//
// The daemon does not rely on a worker's word for what is signed: it verifies the signatures again itself. A
// worker that was taken over can refuse, or let pass what the daemon refuses next.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "security/signature/trust_store.h"
#include "security/signature/verifier.h"

namespace ostal {

// Most files of one version: descriptors of one job (Zygote::kMaxDescriptors leaves room).
inline constexpr std::size_t kMaxFilesOfVersion = 180;

// What metadata is judged against.
struct TrustView {
    std::vector<security::AnchorRoots> anchors;
    std::map<std::string, security::SeenVersions> seen;  // by anchor
    std::int64_t now_us = 0;
};

struct ListedVersion {
    std::string model;
    std::uint64_t version = 0;
    std::string manifest_sha256;  // hex: ModelManifest::digest_hex
    std::uint64_t files = 0;
    std::uint64_t total_bytes = 0;
};

// What a medium claims, proven up to its metadata.
struct VerifiedBundle {
    std::string anchor;
    std::uint64_t root_version = 0;
    std::vector<ListedVersion> versions;  // sorted by model and version
};
json::Value to_json(const VerifiedBundle& bundle);
Result<VerifiedBundle> bundle_from_json(const json::Value& value);

// The proof itself, in this process: the anchor's name and everything verify_repository found. Errors as
// there.
struct AnchoredRepository {
    std::string anchor;
    security::Root trusted;  // the root that was trusted before
    security::VerifiedRepository repository;
};
Result<AnchoredRepository> verify_metadata(const TrustView& trust, const security::MetadataFiles& files);
VerifiedBundle describe(const AnchoredRepository& verified);

// Runs a job and returns its answer, or the error that it answered with. Zygote::run bound to a time limit,
// or run_in_process.
using VerifyRunner =
    std::function<Result<std::string>(const std::string& request, std::span<const int> descriptors)>;

// In the worker. Never fails: an error is an answer too.
std::string run_verify_job(const std::string& request, std::span<const int> descriptors);
Result<std::string> run_in_process(const std::string& request, std::span<const int> descriptors);
// Makes the cryptographic libraries read their settings and pick their code now: afterwards a job needs no
// system call that a worker's filter forbids. Call before the zygote is forked.
void prepare_verify_jobs();

// On the caller's side: asks the runner. kUnavailable and others of the runner; else what the job found.
struct StagedFile {
    std::string name;
    int descriptor = -1;
};
Result<VerifiedBundle> ask_metadata(const VerifyRunner& runner, const TrustView& trust,
                                    const std::vector<StagedFile>& metadata);
Status ask_model(const VerifyRunner& runner, const std::vector<StagedFile>& files);

// The first bytes of a file fit its name's layout and are no format that models must not have. `head` holds
// the first 512 bytes (or all). kUnsupported "file_kind" names the file and what it is.
Status check_file_kind(std::string_view name, ByteSpan head);

}  // namespace ostal
