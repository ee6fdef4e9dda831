#include "appliance/cli/ostal_engine/generation.h"

namespace ostal::engine_tool {

void WarningLog::write(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
    if (level < LogLevel::kWarning) return;
    const std::lock_guard lock(mutex_);
    to_ << "ostal-engine: " << message;
    for (const LogField& field : fields) to_ << " " << field.key << "=" << field.value;
    to_ << "\n";
}

engine::PushResult EventQueue::push(const engine::TokenEvent& event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    changed_.notify_one();
    return engine::PushResult::kAccepted;
}

engine::TokenEvent EventQueue::take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !events_.empty(); });
    engine::TokenEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
}

}  // namespace ostal::engine_tool
