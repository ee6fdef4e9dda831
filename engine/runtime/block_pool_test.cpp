#include "engine/runtime/block_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace ostal::engine {
namespace {

TEST(BlockPool, HandsOutEveryBlockOnceAndThenNone) {
    BlockPool pool(5);
    std::set<BlockId> taken;
    for (int i = 0; i < 5; ++i) taken.insert(pool.take());
    EXPECT_EQ(taken, (std::set<BlockId>{0, 1, 2, 3, 4}));
    EXPECT_EQ(pool.take(), BlockPool::kNone);
    EXPECT_EQ(pool.free(), 0);
    pool.release(3);
    EXPECT_EQ(pool.free(), 1);
    EXPECT_EQ(pool.take(), 3);
}

TEST(BlockPool, ASharedBlockIsFreedByItsLastHolder) {
    BlockPool pool(1);
    const BlockId block = pool.take();
    pool.share(block);
    EXPECT_EQ(pool.references(block), 2);
    pool.release(block);
    EXPECT_EQ(pool.take(), BlockPool::kNone);
    pool.release(block);
    EXPECT_EQ(pool.references(block), 0);
    EXPECT_EQ(pool.take(), block);
}

TEST(BlockPool, RandomUseConservesReferences) {
    SeededRandom random(11);
    BlockPool pool(17);
    std::vector<BlockId> held;
    for (int i = 0; i < 100'000; ++i) {
        const auto choice = random.below(3);
        if (choice == 0) {
            const BlockId block = pool.take();
            if (block != BlockPool::kNone) held.push_back(block);
        } else if (choice == 1 && !held.empty() && held.size() < 60) {
            held.push_back(held[random.below(held.size())]);
            pool.share(held.back());
        } else if (!held.empty()) {
            std::swap(held[random.below(held.size())], held.back());
            pool.release(held.back());
            held.pop_back();
        }
        if (i % 64 == 0) {
            const std::set<BlockId> distinct(held.begin(), held.end());
            ASSERT_EQ(pool.free() + static_cast<int>(distinct.size()), pool.total());
        }
    }
}

TEST(BlockPoolDeathTest, DoubleFreeAndForeignBlocksAreBugs) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    BlockPool pool(2);
    const BlockId block = pool.take();
    pool.release(block);
    EXPECT_DEATH(pool.release(block), "references");
    EXPECT_DEATH(pool.share(block), "references");
    EXPECT_DEATH(pool.release(2), "block");
    EXPECT_DEATH(pool.release(-1), "block");
}

}  // namespace
}  // namespace ostal::engine
