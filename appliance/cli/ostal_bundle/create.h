// Making a bundle: a model's files as signed targets beside the metadata that lists them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "appliance/cli/ostal_bundle/repository.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/result.h"
#include "security/signature/manifest.h"

namespace ostal::bundle {

inline constexpr std::uint64_t kDefaultPartBytes = 2ULL << 30;  // FAT32 holds less than 4 GiB, ISO 9660 less
inline constexpr std::int64_t kDayUs = 86'400LL * 1'000'000;
inline constexpr std::int64_t kReleaseLifeUs = 395 * kDayUs;  // 13 months

struct CreateOptions {
    std::string model_path;  // a folder, or one .gguf file
    std::string name;
    std::uint64_t version = 0;
    std::string out;
    Keys keys;
    // Roots of the anchor: all from version 1 when `out` has none yet, else newer ones. With neither, a first
    // root is made in which the keys hold every role.
    std::vector<Bytes> roots;
    std::optional<std::string> format;          // else from the model's template
    std::optional<std::string> default_system;  // else what the template says
    std::string license;
    std::optional<std::int64_t> expires_us;  // of targets, snapshot and timestamp
    std::optional<std::uint64_t>
        metadata_version;  // else one above what `out` holds, at least the time in milliseconds
    std::uint64_t part_bytes = kDefaultPartBytes;
    std::function<void(const std::string& file, std::uint64_t bytes)> on_file;
};

struct CreateReport {
    security::ModelManifest manifest;
    std::vector<std::string> left_out;  // hidden files of the model folder
    std::vector<RoleState> roles;
    bool made_root = false;
};

// Adds the version to the repository at `out` (made when absent). The files are copied while they are hashed,
// and the copies are what is signed. kInvalidArgument (names, empty folder), kConflict (the version is there
// already), kUnprocessable (asks for --format), kUnsupported (a file of a kind that models do not have, or a
// model that the engine does not read), kIo, kNoSpace.
Result<CreateReport> create_bundle(Files& files, const Clock& clock, const CreateOptions& options);

}  // namespace ostal::bundle
