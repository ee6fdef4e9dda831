// The log's Merkle tree (RFC 6962 section 2.1), kept as the unfinished tile of each level.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "security/crypto/merkle.h"

namespace ostal::security {

// 256 hashes; a hash of level L is the root of the 256 hashes of a tile of level L - 1.
struct Tile {
    unsigned level = 0;
    std::uint64_t number = 0;
    std::vector<Digest32> hashes;
};

class TileTree {
public:
    // Reads one full tile's hashes.
    using ReadTile = std::function<Result<std::vector<Digest32>>(unsigned level, std::uint64_t number)>;

    // The tree of the first `size` records (a multiple of 256) from their tiles; reads at most 255 a level.
    static Result<TileTree> restore(std::uint64_t size, const ReadTile& read);

    // Tiles that become full are appended to `full`.
    void add(const Digest32& leaf, std::vector<Tile>& full);
    std::uint64_t size() const { return size_; }
    Digest32 root() const;

private:
    std::uint64_t size_ = 0;
    std::vector<std::vector<Digest32>> levels_;  // [level]: fewer than 256 hashes
};

// The roots of the perfect subtrees over `hashes`, largest first, are appended to `peaks`.
void append_peaks(std::span<const Digest32> hashes, std::vector<Digest32>& peaks);
// The root over perfect subtrees, largest first.
Digest32 fold_peaks(std::span<const Digest32> peaks);

Bytes tile_bytes(std::span<const Digest32> hashes);
// kIntegrity unless it holds 256 hashes.
Result<std::vector<Digest32>> tile_hashes(ByteSpan bytes);

}  // namespace ostal::security
