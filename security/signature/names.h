// Names in signed metadata: models, files, target paths (docs/formats/bundle.md).
//
// One rule for the tool that signs and the daemon that imports. A name that does not match is refused, never
// repaired. Case-fold duplicates are impossible for models (lower case alone) and refused for files by
// whoever holds a set of them (`fold_case`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ostal::security {

// ^[a-z0-9][a-z0-9._-]{0,63}$
bool is_model_name(std::string_view name);
// ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$
bool is_file_name(std::string_view name);
// ASCII letters to lower case: two file names are duplicates when these are equal.
std::string fold_case(std::string_view name);

// A decimal number without sign or leading zero, 1 to 2^53 - 1 (versions also stand in audit records, whose
// integers are below 2^53).
std::optional<std::uint64_t> parse_version(std::string_view text);
constexpr std::uint64_t kMaxVersion = (std::uint64_t{1} << 53) - 1;

// models/<model>/<version>/<file>
struct TargetPath {
    std::string model;
    std::uint64_t version = 0;
    std::string file;

    std::string to_string() const;
    // Where the file lies on a medium: targets/models/<model>/<version>/<sha256>.<file>
    std::string on_medium(std::string_view sha256_hex) const;
};
// kIntegrity for anything else.
Result<TargetPath> parse_target_path(std::string_view path);

}  // namespace ostal::security
