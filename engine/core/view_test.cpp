#include "engine/core/view.h"

#include <gtest/gtest.h>

#include <vector>

namespace ostal::engine {
namespace {

TEST(View, RowsAndSlices) {
    std::vector<float> values(24);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    const View view = View::make(values.data(), DType::kF32, {2, 3, 4});
    EXPECT_EQ(view.rows(), 6);
    EXPECT_EQ(view.columns(), 4);
    EXPECT_TRUE(view.contiguous());
    EXPECT_EQ(view.row<float>(5)[1], 21.0F);
    const View rows = view.slice_rows(2, 3);
    EXPECT_EQ(rows.rank, 2);
    EXPECT_EQ(rows.shape[0], 3);
    EXPECT_EQ(rows.row<float>(0)[0], 8.0F);
    const View columns = rows.slice_columns(1, 2);
    EXPECT_FALSE(columns.contiguous());
    EXPECT_EQ(columns.columns(), 2);
    EXPECT_EQ(columns.row<float>(2)[1], 18.0F);
}

TEST(View, QuantisedRowsCountInBlocks) {
    std::vector<std::uint8_t> bytes(2 * 3 * 2 * 34);
    const Weight stack{View::make(bytes.data(), DType::kQ8_0, {2, 3, 64})};
    EXPECT_EQ(stack.data.row_stride_bytes, 68);
    EXPECT_EQ(stack.data.size_bytes(), 408);
    const Weight second = stack.expert(1);
    EXPECT_EQ(second.data.as<std::uint8_t>() - bytes.data(), 204);
    EXPECT_EQ(second.data.shape[0], 3);
    EXPECT_EQ(second.data.slice_columns(32, 32).as<std::uint8_t>() - bytes.data(), 204 + 34);
}

TEST(ViewDeathTest, TypesAndBordersAreChecked) {
    std::vector<float> values(8);
    const View view = View::make(values.data(), DType::kF32, {2, 4});
    EXPECT_DEATH(view.as<std::int32_t>(), "holds");
    EXPECT_DEATH(view.slice_rows(1, 2), "rows");
    EXPECT_DEATH(View::make(nullptr, DType::kQ4_1, {2, 33}), "block_elements");
}

}  // namespace
}  // namespace ostal::engine
