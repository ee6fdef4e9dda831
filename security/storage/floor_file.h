// The rollback floors, in a file of their own under the service key "floor":
// the second of the two places that must agree (the first is ostal.db).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/result.h"
#include "security/secret.h"

namespace ostal::security {

struct Floor {
    std::uint64_t version = 0;              // highest version ever confirmed
    std::optional<std::uint64_t> previous;  // the one below it that may still be loaded
    friend bool operator==(const Floor&, const Floor&) = default;
};
// By name, at most 255 bytes each: "model/<name>", "role/<anchor>/<role>".
using Floors = std::map<std::string, Floor>;

// kNotFound when there is no file; kIntegrity when its MAC does not hold.
Result<Floors> read_floor_file(Files& files, const std::string& path, KeyView key);
// Durable replace (file.h); afterwards the file holds the old or the new
// floors.
Status write_floor_file(Files& files, const std::string& path, KeyView key, const Floors& floors);

}  // namespace ostal::security
