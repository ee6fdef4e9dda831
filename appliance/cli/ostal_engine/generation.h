// An engine for the tool, and answers taken from it on the calling thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <ostream>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/token_sink.h"

namespace ostal::engine_tool {

// Warnings and errors of the engine, to stderr.
class WarningLog final : public LogSink {
public:
    explicit WarningLog(std::ostream& to) : to_(to) {}
    void write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) override;

private:
    std::mutex mutex_;
    std::ostream& to_;
};

// A sink that keeps events until they are taken; the reader may be slow, memory is bounded by max_tokens.
class EventQueue final : public engine::TokenSink {
public:
    engine::PushResult push(const engine::TokenEvent& event) override;
    // Waits for the next event.
    engine::TokenEvent take();

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<engine::TokenEvent> events_;
};

}  // namespace ostal::engine_tool
