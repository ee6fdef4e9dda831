// The log's back end: lines on stderr that journald reads, written by a thread of its own.
//
// text:  <6>message key=value key="two words"     (sd-daemon(3) priority prefix; journald strips it)
// json:  {"t":"2026-…Z","level":"info","message":"…","key":"value"}
// Control characters are escaped, so that a value never makes a line of its own. A full queue drops the
// record and counts it; the count is logged when there is room again.
#pragma once

#include <atomic>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/thread.h"

namespace ostal {

enum class LogFormat { kText, kJson };

// Thread-safe.
class Logger final : public LogSink {
public:
    // `descriptor` stays owned by the caller (2: stderr). Starts the thread `ost-log`.
    Logger(int descriptor, LogLevel least, LogFormat format, const Clock& clock);
    // Writes what is queued.
    ~Logger() override;
    void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) override;

private:
    void run();
    const int descriptor_;
    const LogLevel least_;
    const LogFormat format_;
    const Clock& clock_;
    std::atomic<std::uint64_t> dropped_{0};
    BoundedQueue<std::string> queue_{1024};
    NamedThread thread_;
};

// One line with its newline.
std::string format_log_line(LogFormat format, LogLevel level, std::int64_t wall_us, std::string_view message,
                            std::initializer_list<LogField> fields);

}  // namespace ostal
