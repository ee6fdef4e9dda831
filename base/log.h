// The log interface: structured, levelled, no back end here (appliance/ops/logging.cpp has it).
//
// Never log prompts, tokens, keys or credentials. Anything a client can trigger is logged at kDebug or
// rate-limited by the caller. The audit log is another thing (security/audit).
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace ostal {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

struct LogField {
    std::string_view key;  // lower_snake_case
    std::string value;
};

// Thread-safe; write() never throws and may drop records under pressure.
class LogSink {
public:
    virtual ~LogSink() = default;
    virtual void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) = 0;

    void debug(std::string_view message, std::initializer_list<LogField> fields = {}) {
        write(LogLevel::kDebug, message, fields);
    }
    void info(std::string_view message, std::initializer_list<LogField> fields = {}) {
        write(LogLevel::kInfo, message, fields);
    }
    void warning(std::string_view message, std::initializer_list<LogField> fields = {}) {
        write(LogLevel::kWarning, message, fields);
    }
    void error(std::string_view message, std::initializer_list<LogField> fields = {}) {
        write(LogLevel::kError, message, fields);
    }
};

class NullLog final : public LogSink {
public:
    void write(LogLevel, std::string_view, std::initializer_list<LogField>) override {}
};

}  // namespace ostal
