#include "appliance/ops/logging.h"

#include <unistd.h>

#include <cerrno>

#include "base/json.h"

namespace ostal {
namespace {

int priority(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug: return 7;
        case LogLevel::kInfo: return 6;
        case LogLevel::kWarning: return 4;
        case LogLevel::kError: return 3;
    }
    return 6;
}

std::string_view level_word(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug: return "debug";
        case LogLevel::kInfo: return "info";
        case LogLevel::kWarning: return "warning";
        case LogLevel::kError: return "error";
    }
    return "info";
}

// A JSON string literal keeps control characters visible; without need the quotes are left out.
std::string plain_or_quoted(std::string_view text) {
    const bool plain = !text.empty() && text.find_first_of(" =\"\\\n\r\t") == std::string_view::npos;
    const std::string quoted = json::quote(text);
    if (plain && quoted.size() == text.size() + 2) return std::string(text);
    return quoted;
}

std::string escaped(std::string_view text) {
    const std::string quoted = json::quote(text);
    return quoted.substr(1, quoted.size() - 2);
}

}  // namespace

std::string format_log_line(LogFormat format, LogLevel level, std::int64_t wall_us, std::string_view message,
                            std::initializer_list<LogField> fields) {
    if (format == LogFormat::kJson) {
        json::Object line;
        line.append("t", to_rfc3339(wall_us));
        line.append("level", level_word(level));
        line.append("message", message);
        for (const LogField& field : fields) line.set(std::string(field.key), field.value);
        return json::to_string(json::Value(std::move(line))) + "\n";
    }
    std::string line = "<" + std::to_string(priority(level)) + ">" + escaped(message);
    for (const LogField& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        line += plain_or_quoted(field.value);
    }
    return line + "\n";
}

Logger::Logger(int descriptor, LogLevel least, LogFormat format, const Clock& clock)
    : descriptor_(descriptor), least_(least), format_(format), clock_(clock), thread_("ost-log", [this] { run(); }) {}

Logger::~Logger() {
    queue_.close();
    thread_.join();
}

void Logger::write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
    if (level < least_) return;
    if (!queue_.try_push(format_log_line(format_, level, clock_.wall_now_us(), message, fields))) ++dropped_;
}

void Logger::run() {
    while (auto line = queue_.pop()) {
        if (const std::uint64_t dropped = dropped_.exchange(0); dropped > 0) {
            *line += format_log_line(format_, LogLevel::kWarning, clock_.wall_now_us(), "log records dropped",
                                     {{"count", std::to_string(dropped)}});
        }
        std::string_view rest = *line;
        while (!rest.empty()) {
            const ssize_t put = ::write(descriptor_, rest.data(), rest.size());
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) break;  // nowhere to tell it
            rest.remove_prefix(static_cast<std::size_t>(put));
        }
    }
}

}  // namespace ostal
