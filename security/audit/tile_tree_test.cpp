#include "security/audit/tile_tree.h"

#include <gtest/gtest.h>

#include <map>

#include "security/audit/layout.h"

namespace ostal::security {
namespace {

Digest32 leaf(std::uint64_t i) { return merkle_leaf(as_bytes(std::to_string(i))); }

TEST(TileTree, RootsAreThoseOfTheTree) {
    TileTree tree;
    std::vector<Tile> full;
    std::vector<Digest32> leaves;
    EXPECT_EQ(tree.root(), merkle_root({}));
    for (std::uint64_t i = 0; i < 1300; ++i) {
        tree.add(leaf(i), full);
        leaves.push_back(leaf(i));
        ASSERT_EQ(tree.root(), merkle_root(leaves)) << i;
    }
    ASSERT_EQ(full.size(), 5U);
    EXPECT_EQ(full[3].number, 3U);
    EXPECT_EQ(full[3].level, 0U);
    EXPECT_EQ(full[3].hashes[5], leaf(3 * 256 + 5));
}

TEST(TileTree, RestoredFromItsTilesItGoesOnTheSame) {
    constexpr std::uint64_t kSize = 256 * 256 + 3 * 256;  // a full tile of level 1
    std::map<std::pair<unsigned, std::uint64_t>, std::vector<Digest32>> disk;
    TileTree tree;
    for (std::uint64_t i = 0; i < kSize; ++i) {
        std::vector<Tile> full;
        tree.add(leaf(i), full);
        for (Tile& tile : full) disk[{tile.level, tile.number}] = tile.hashes;
    }
    EXPECT_EQ(disk.count({1, 0}), 1U);
    const auto read = [&](unsigned level, std::uint64_t number) -> Result<std::vector<Digest32>> {
        return disk.at({level, number});
    };
    auto restored = TileTree::restore(kSize, read);
    ASSERT_TRUE(restored);
    EXPECT_EQ(restored->root(), tree.root());
    std::vector<Tile> full;
    std::vector<Tile> full_restored;
    for (std::uint64_t i = kSize; i < kSize + 600; ++i) {
        tree.add(leaf(i), full);
        restored->add(leaf(i), full_restored);
    }
    EXPECT_EQ(restored->root(), tree.root());
    ASSERT_EQ(full.size(), full_restored.size());
    EXPECT_EQ(full.back().number, full_restored.back().number);
    EXPECT_EQ(full.back().hashes, full_restored.back().hashes);
}

TEST(TileTree, TileBytesReadBack) {
    std::vector<Digest32> hashes;
    for (std::uint64_t i = 0; i < kTileWidth; ++i) hashes.push_back(leaf(i));
    EXPECT_EQ(tile_hashes(tile_bytes(hashes)).value(), hashes);
    EXPECT_FALSE(tile_hashes(Bytes(8191)));
}

TEST(Layout, NumbersArePathsOfThreeDigits) {
    EXPECT_EQ(tile_number_path(0), "000");
    EXPECT_EQ(tile_number_path(67), "067");
    EXPECT_EQ(tile_number_path(1000), "x001/000");
    EXPECT_EQ(tile_number_path(1234067), "x001/x234/067");
    EXPECT_EQ(entries_path(5), "tile/entries/005");
    EXPECT_EQ(tile_path(1, 1005), "tile/1/x001/005");
    EXPECT_EQ(folder_of("tile/1/x001/005"), "tile/1/x001");
}

TEST(Layout, FramesStopAtTheFirstThatIsNotWhole) {
    Bytes bytes;
    append_frame(bytes, "first");
    append_frame(bytes, "second");
    const std::size_t whole = bytes.size();
    EXPECT_EQ(split_frames(bytes).records, (std::vector<std::string_view>{"first", "second"}));
    for (std::size_t cut = 0; cut < whole; ++cut) {
        const Frames frames = split_frames(ByteSpan(bytes).first(cut));
        EXPECT_EQ(frames.records.size(), cut < 7 ? 0U : 1U);
        EXPECT_EQ(frames.bytes, cut < 7 ? 0U : 7U);
    }
    bytes.resize(whole + 10);  // zeros, as a file that grew before its content was written
    EXPECT_EQ(split_frames(bytes).bytes, whole);
}

}  // namespace
}  // namespace ostal::security
