#include "engine/backend/cpu/isa.h"

#include <gtest/gtest.h>

#include <string_view>

namespace ostal::engine::cpu {
namespace {

TEST(Isa, NamesChooseKernels) {
    const auto scalar = select_kernels("scalar");
    ASSERT_TRUE(scalar);
    EXPECT_EQ(std::string_view((*scalar)->name), "scalar");
    const auto best = select_kernels("");
    ASSERT_TRUE(best);
    const auto avx2 = select_kernels("avx2");
    if (avx2) {
        EXPECT_EQ(std::string_view((*avx2)->name), "avx2");
        EXPECT_EQ(*best, *avx2);
    } else {
        EXPECT_EQ(avx2.error().code(), Code::kUnsupported);
        EXPECT_EQ(*best, *scalar);
    }
}

TEST(Isa, UnknownNamesAreRefused) {
    const auto unknown = select_kernels("AVX2");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code(), Code::kInvalidArgument);
    EXPECT_NE(unknown.error().message().find("AVX2"), std::string::npos);
}

}  // namespace
}  // namespace ostal::engine::cpu
