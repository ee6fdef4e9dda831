#include "base/clock.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace ostal {
namespace {

std::int64_t now_us(clockid_t id) {
    timespec now{};
    ::clock_gettime(id, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000;
}

}  // namespace

std::int64_t SystemClock::wall_now_us() const { return now_us(CLOCK_REALTIME); }
std::int64_t SystemClock::mono_now_us() const { return now_us(CLOCK_BOOTTIME); }

std::string to_rfc3339(std::int64_t wall_us) {
    std::int64_t seconds = wall_us / 1'000'000;
    std::int64_t fraction = wall_us % 1'000'000;
    if (fraction < 0) {
        fraction += 1'000'000;
        --seconds;
    }
    const std::time_t time = static_cast<std::time_t>(seconds);
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06lldZ", parts.tm_year + 1900,
                  parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                  static_cast<long long>(fraction));
    return text;
}

Result<std::int64_t> from_rfc3339(std::string_view text) {
    const auto number = [&](std::size_t at, std::size_t length) {
        int value = -1;
        if (text.size() >= at + length) std::from_chars(text.data() + at, text.data() + at + length, value);
        return value;
    };
    const std::chrono::year_month_day date{std::chrono::year(number(0, 4)),
                                           std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                           std::chrono::day(static_cast<unsigned>(number(8, 2)))};
    if (date.ok() && number(0, 4) >= 1970) {
        const std::int64_t seconds =
            std::chrono::sys_seconds(std::chrono::sys_days(date)).time_since_epoch().count() +
            number(11, 2) * 3600 + number(14, 2) * 60 + number(17, 2);
        const std::int64_t wall_us = seconds * 1'000'000 + number(20, 6);
        if (to_rfc3339(wall_us) == text) return wall_us;
    }
    return fail(Code::kInvalidArgument, "not a time of the form 2026-11-23T20:51:00.000001Z");
}

}  // namespace ostal
