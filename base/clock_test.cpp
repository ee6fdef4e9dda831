#include "base/clock.h"

#include <gtest/gtest.h>

namespace ostal {
namespace {

TEST(Clock, Rfc3339) {
    EXPECT_EQ(to_rfc3339(0), "1970-01-01T00:00:00.000000Z");
    EXPECT_EQ(to_rfc3339(1'709'164'800'000'001), "2024-02-29T00:00:00.000001Z");
    EXPECT_EQ(to_rfc3339(-1), "1969-12-31T23:59:59.999999Z");
}

TEST(Clock, Rfc3339ReadsBackItsOwnSpellingOnly) {
    for (const std::int64_t wall_us : {0LL, 1LL, 1'709'164'800'000'001LL, 253'402'300'799'999'999LL}) {
        EXPECT_EQ(from_rfc3339(to_rfc3339(wall_us)).value(), wall_us);
    }
    for (const char* text :
         {"", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000", "1970-01-01 00:00:00.000000Z",
          "1970-13-01T00:00:00.000000Z", "1970-02-29T00:00:00.000000Z", "1970-01-01T24:00:00.000000Z",
          "1970-01-01T00:00:60.000000Z", "1970-01-01T00:00:00.000000Zx", "1969-12-31T23:59:59.999999Z",
          "1970-1-001T00:00:00.000000Z", "1970-01-01T00:00:-1.000000Z"}) {
        EXPECT_FALSE(from_rfc3339(text)) << text;
    }
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
