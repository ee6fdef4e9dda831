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
    EXPECT_TRUE(select_kernels((*best)->name));
    for (const char* name : {"avx2", "avx512"}) {
        const auto selected = select_kernels(name);
        if (selected) {
            EXPECT_EQ(std::string_view((*selected)->name), name);
            EXPECT_NE(*best, *scalar);
        } else {
            EXPECT_EQ(selected.error().code(), Code::kUnsupported);
            EXPECT_NE(selected.error().message().find(" AVX"), std::string::npos);
        }
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
