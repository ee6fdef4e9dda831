// Where things lie below the audit folder, and how records are framed (c2sp.org/tlog-tiles).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "base/result.h"

namespace ostal::security {

inline constexpr std::size_t kTileWidth = 256;  // hashes a tile, records a bundle
inline constexpr std::size_t kMaxBundleBytes = kTileWidth * (2 + 65'535);

// 1234067 -> "x001/x234/067"
std::string tile_number_path(std::uint64_t number);
std::string wal_path(std::uint64_t number);      // "wal/…"
std::string entries_path(std::uint64_t number);  // "tile/entries/…"
std::string tile_path(unsigned level, std::uint64_t number);
inline constexpr std::string_view kMacFile = "mac";
inline constexpr std::string_view kCheckpointFile = "checkpoint";
inline constexpr std::string_view kVerifierKeyFile = "log.vkey";
inline constexpr std::string_view kReserveFile = "reserve";

// `u16 big-endian length | record`
void append_frame(Bytes& out, std::string_view record);
struct Frames {
    std::vector<std::string_view> records;  // into the bytes; at most kTileWidth
    std::size_t bytes = 0;                  // that they take
};
// The whole frames at the front; what is left after `bytes` is none (cut off, empty, or beyond the 256th).
Frames split_frames(ByteSpan bytes);

// The folder's checked path to a file below it: folder part ("wal/x001") of "wal/x001/002"; "" for none.
std::string_view folder_of(std::string_view path);

// Texts of records [first, first + count), all of which exist; a bundle that is being renamed is found
// under either name.
Result<std::vector<std::string>> read_records(Files& files, const std::string& folder, std::uint64_t first,
                                              std::size_t count);

}  // namespace ostal::security
