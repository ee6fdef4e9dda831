// Time, injected: code that needs the time takes a Clock&. A lint forbids system_clock::now elsewhere.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ostal {

// Thread-safe. Times are int64 microseconds.
class Clock {
public:
    virtual ~Clock() = default;
    // Microseconds since the Unix epoch, UTC; may jump.
    virtual std::int64_t wall_now_us() const = 0;
    // Microseconds since boot (CLOCK_BOOTTIME); never goes back, runs on in suspend.
    virtual std::int64_t mono_now_us() const = 0;
};

class SystemClock final : public Clock {
public:
    std::int64_t wall_now_us() const override;
    std::int64_t mono_now_us() const override;
};

// A clock that stands still until a test moves it.
class ManualClock final : public Clock {
public:
    explicit ManualClock(std::int64_t wall_us = 1'750'000'000'000'000, std::int64_t mono_us = 1'000'000)
        : wall_us_(wall_us), mono_us_(mono_us) {}
    std::int64_t wall_now_us() const override { return wall_us_.load(); }
    std::int64_t mono_now_us() const override { return mono_us_.load(); }
    void advance_us(std::int64_t by_us) {
        wall_us_ += by_us;
        mono_us_ += by_us;
    }
    void set_wall_us(std::int64_t wall_us) { wall_us_ = wall_us; }

private:
    std::atomic<std::int64_t> wall_us_;
    std::atomic<std::int64_t> mono_us_;
};

// RFC 3339, UTC, six fraction digits: 2026-11-23T20:51:00.000001Z
std::string to_rfc3339(std::int64_t wall_us);
// The strict inverse, years 1970 to 9999: kInvalidArgument for any other spelling.
Result<std::int64_t> from_rfc3339(std::string_view text);

}  // namespace ostal
