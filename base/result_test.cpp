#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace ostal {
namespace {

Result<int> half(int n) {
    if (n % 2 != 0) return fail(Code::kInvalidArgument, "odd");
    return n / 2;
}
Result<int> quarter(int n) {
    OSTAL_TRY(const int h, half(n));
    OSTAL_TRY(const int q, half(h));
    return q;
}

TEST(Result, TryPassesValuesAndErrors) {
    EXPECT_EQ(*quarter(12), 3);
    ASSERT_FALSE(quarter(6));
    EXPECT_EQ(quarter(6).error().code(), Code::kInvalidArgument);
}

TEST(Result, ContextReadsFromTheInside) {
    auto error = Error(Code::kIo, "disk on fire").with("while reading a").with("while importing b");
    EXPECT_EQ(error.to_string(), "disk on fire (while reading a, while importing b)");
}

TEST(Result, ReasonSurvivesTheWayUp) {
    const Error error = Error(Code::kIntegrity, "too old").because("expired").with("while reading a");
    EXPECT_EQ(error.reason(), "expired");
    EXPECT_EQ(error.to_string(), "too old (while reading a)");
    EXPECT_EQ(errno_error(ENOENT, "x").reason(), "");
}

TEST(Result, CodeNamesReadBack) {
    for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
        const Code code = static_cast<Code>(i);
        EXPECT_NE(code_name(code), "unknown");
        EXPECT_EQ(code_from_name(code_name(code)), code);
    }
    EXPECT_EQ(code_from_name("nonsense"), Code::kInternal);
}

TEST(Result, ErrnoMapsFullDisksAndMissingFiles) {
    EXPECT_EQ(errno_error(ENOSPC, "x").code(), Code::kNoSpace);
    EXPECT_EQ(errno_error(EDQUOT, "x").code(), Code::kNoSpace);
    EXPECT_EQ(errno_error(ENOENT, "x").code(), Code::kNotFound);
    EXPECT_EQ(errno_error(EIO, "x").code(), Code::kIo);
}

}  // namespace
}  // namespace ostal
