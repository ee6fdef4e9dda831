// A medium: the files of a signed bundle, opened once and never by path again.
//
// Files come from a folder (the inbox, a tool's argument) or as descriptors passed over a socket. Either way
// they are regular files with one link, under names that a bundle may have and no others:
//   metadata/<file>
//   targets/models/<model>/<version>/<sha256>.<file>            or, in pieces that follow each other from
//   000, targets/models/<model>/<version>/<sha256>.<file>.part000 .part001 ...
// Refused are symbolic and hard links, devices, sockets, folders anywhere else, names that differ in case
// alone and more than kMaxFiles files. kIntegrity with reason "extra", "link" or "malformed" names the file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace ostal {

class Medium {
public:
    static constexpr std::size_t kMaxFiles = 10'000;

    // Opens every file below `folder` (O_NOFOLLOW at each step). kNotFound, kIo, kIntegrity.
    static Result<Medium> open_folder(const std::string& folder);
    // Takes over descriptors with their names on the medium; all are closed when this fails.
    static Result<Medium> adopt(const std::vector<std::pair<std::string, int>>& descriptors);

    Medium(Medium&&) noexcept = default;
    Medium& operator=(Medium&&) noexcept = default;

    // Names of the files of metadata/, without the folder, sorted.
    std::vector<std::string> metadata_files() const;
    File& metadata_file(const std::string& name) const;  // CHECKed

    // The pieces of each target by its name on the medium (without .partNNN); one piece for a whole file.
    using Targets = std::map<std::string, std::vector<File*>>;
    const Targets& targets() const { return targets_; }

private:
    Medium() = default;
    Status add(const std::string& name, std::unique_ptr<File> file);
    Status index_targets();

    std::map<std::string, std::unique_ptr<File>> files_;  // by name on the medium
    std::map<std::string, std::string> folded_;           // lower-case name -> name
    Targets targets_;
};

// Reads the pieces of one target one after the other, into buffers of 1 MiB. `each` gets every piece of bytes
// in order; its error ends the reading. kIntegrity "mismatch" when there are more or fewer than `length`
// bytes.
Status read_pieces(const std::vector<File*>& pieces, std::uint64_t length,
                   const std::function<Status(ByteSpan)>& each);

}  // namespace ostal
