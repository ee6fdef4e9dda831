#include "security/audit/tile_tree.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "security/audit/layout.h"

namespace ostal::security {

Result<TileTree> TileTree::restore(std::uint64_t size, const ReadTile& read) {
    CHECK_EQ(size % kTileWidth, 0U);
    TileTree tree;
    tree.size_ = size;
    std::uint64_t count = size;  // hashes of the level that exist in the whole tree
    for (unsigned level = 0; count > 0; ++level, count /= kTileWidth) {
        std::vector<Digest32>& unfinished = tree.levels_.emplace_back();
        for (std::uint64_t i = count - count % kTileWidth; i < count; ++i) {
            OSTAL_TRY(const auto hashes, read(level - 1, i));
            unfinished.push_back(merkle_root(hashes));
        }
    }
    return tree;
}

void TileTree::add(const Digest32& leaf, std::vector<Tile>& full) {
    ++size_;
    std::uint64_t count = size_;
    Digest32 hash = leaf;
    for (unsigned level = 0;; ++level) {
        if (level == levels_.size()) levels_.emplace_back();
        std::vector<Digest32>& unfinished = levels_[level];
        unfinished.push_back(hash);
        if (unfinished.size() < kTileWidth) return;
        hash = merkle_root(unfinished);
        count /= kTileWidth;
        full.push_back({level, count - 1, std::move(unfinished)});
        unfinished.clear();
    }
}

Digest32 TileTree::root() const {
    std::vector<Digest32> peaks;
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) append_peaks(*level, peaks);
    return fold_peaks(peaks);
}

void append_peaks(std::span<const Digest32> hashes, std::vector<Digest32>& peaks) {
    while (!hashes.empty()) {
        const std::size_t perfect = std::bit_floor(hashes.size());
        peaks.push_back(merkle_root(hashes.first(perfect)));
        hashes = hashes.subspan(perfect);
    }
}

Digest32 fold_peaks(std::span<const Digest32> peaks) {
    if (peaks.empty()) return merkle_root({});
    Digest32 root = peaks.back();
    for (std::size_t i = peaks.size() - 1; i-- > 0;) root = merkle_node(peaks[i], root);
    return root;
}

Bytes tile_bytes(std::span<const Digest32> hashes) {
    Bytes bytes;
    bytes.reserve(hashes.size() * sizeof(Digest32));
    for (const Digest32& hash : hashes) append(bytes, hash);
    return bytes;
}

Result<std::vector<Digest32>> tile_hashes(ByteSpan bytes) {
    if (bytes.size() != kTileWidth * sizeof(Digest32)) {
        return fail(Code::kIntegrity, "a hash tile of the audit log has not 256 hashes");
    }
    std::vector<Digest32> hashes(kTileWidth);
    for (std::size_t i = 0; i < kTileWidth; ++i) {
        std::memcpy(hashes[i].data(), bytes.data() + i * sizeof(Digest32), sizeof(Digest32));
    }
    return hashes;
}

}  // namespace ostal::security
