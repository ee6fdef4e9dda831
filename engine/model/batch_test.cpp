#include "engine/model/batch.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/model/kv_cache.h"
#include "tests/support/allocation_count.h"

namespace ostal::engine {
namespace {

std::vector<std::int32_t> copy(std::span<const std::int32_t> values) {
    return {values.begin(), values.end()};
}
using Ids = std::vector<std::int32_t>;

TEST(BatchBuilder, LaysOutSequences) {
    BatchBuilder builder(8, 3, 2);
    const Ids one = {10}, three = {20, 21, 22}, table_a = {4, 5}, table_b = {6};
    builder.add(one, 9, table_a, WantLogits::kLast);
    builder.add(three, 0, table_b, WantLogits::kNone);
    builder.add(three, 2, table_a, WantLogits::kLast);
    const Batch batch = builder.batch();
    EXPECT_EQ(copy(batch.tokens), (Ids{10, 20, 21, 22, 20, 21, 22}));
    EXPECT_EQ(copy(batch.positions), (Ids{9, 0, 1, 2, 2, 3, 4}));
    EXPECT_EQ(copy(batch.sequence_of_row), (Ids{0, 1, 1, 1, 2, 2, 2}));
    EXPECT_EQ(copy(batch.first_row), (Ids{0, 1, 4}));
    EXPECT_EQ(copy(batch.token_count), (Ids{1, 3, 3}));
    EXPECT_EQ(copy(batch.cached_tokens), (Ids{9, 0, 2}));
    EXPECT_EQ(copy(batch.block_tables), (Ids{4, 5, 6, -1, 4, 5}));
    EXPECT_EQ(copy(batch.logit_rows), (Ids{0, 6}));
    EXPECT_EQ(batch.decode_sequences, 1);
}

TEST(BatchBuilder, ASingleTokenBehindAChunkIsAChunk) {
    BatchBuilder builder(8, 4, 1);
    const Ids one = {1}, two = {2, 3}, table = {0};
    builder.add(one, 1, table, WantLogits::kAll);
    builder.add(two, 0, table, WantLogits::kAll);
    builder.add(one, 1, table, WantLogits::kAll);
    EXPECT_EQ(builder.batch().decode_sequences, 1);
    EXPECT_EQ(copy(builder.batch().logit_rows), (Ids{0, 1, 2, 3}));
}

TEST(BatchBuilder, FillingAgainAllocatesNothing) {
    BatchBuilder builder(16, 4, 8);
    const Ids tokens(4, 1), table(8, 2);
    const std::uint64_t before = testing_support::allocations_on_this_thread();
    for (int i = 0; i < 3; ++i) {
        builder.clear();
        for (int s = 0; s < 4; ++s) builder.add(tokens, 0, table, WantLogits::kAll);
    }
    EXPECT_EQ(testing_support::allocations_on_this_thread() - before, 0U);
}

TEST(BatchBuilderDeathTest, CapacitiesHold) {
    BatchBuilder builder(4, 1, 1);
    const Ids five(5, 1), one = {1}, table = {0}, long_table = {0, 1};
    EXPECT_DEATH(builder.add(five, 0, table, WantLogits::kAll), "max_rows_");
    EXPECT_DEATH(builder.add(one, 0, long_table, WantLogits::kAll), "max_blocks_");
    builder.add(one, 0, table, WantLogits::kAll);
    EXPECT_DEATH(builder.add(one, 0, table, WantLogits::kAll), "max_sequences_");
}

TEST(KvCache, BlocksHaveTheSizeThatTheShapeSays) {
    KvCacheShape shape;
    shape.layers = 3;
    shape.kv_heads = 2;
    shape.head_dim = 16;
    shape.block_tokens = 8;
    shape.blocks = 5;
    shape.dtype = DType::kBF16;
    EXPECT_EQ(shape.block_bytes(), 2 * 3 * 2 * 16 * 8 * 2);
    const auto cache = KvCache::create(shape);
    ASSERT_TRUE(cache);
    const KvLayer& layer = cache->layer(2);
    EXPECT_EQ(layer.blocks(), 5);
    EXPECT_EQ(layer.kv_heads(), 2);
    EXPECT_EQ(layer.block_tokens(), 8);
    EXPECT_EQ(layer.head_dim(), 16);
    EXPECT_NE(layer.keys.data, layer.values.data);
}

}  // namespace
}  // namespace ostal::engine
