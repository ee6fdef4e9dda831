#include "base/clock.h"

#include <gtest/gtest.h>

namespace ostal {
namespace {

TEST(Clock, Rfc3339) {
    EXPECT_EQ(to_rfc3339(0), "1970-01-01T00:00:00.000000Z");
    EXPECT_EQ(to_rfc3339(1'709'164'800'000'001), "2024-02-29T00:00:00.000001Z");
    EXPECT_EQ(to_rfc3339(-1), "1969-12-31T23:59:59.999999Z");
}

TEST(Clock, ManualClockMovesOnlyWhenTold) {
    ManualClock clock(5'000'000, 100);
    clock.advance_us(50);
    EXPECT_EQ(clock.wall_now_us(), 5'000'050);
    EXPECT_EQ(clock.mono_now_us(), 150);
}

TEST(Clock, SystemMonotonicDoesNotGoBack) {
    const SystemClock clock;
    const auto before = clock.mono_now_us();
    EXPECT_LE(before, clock.mono_now_us());
}

}  // namespace
}  // namespace ostal
