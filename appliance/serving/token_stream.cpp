#include "appliance/serving/token_stream.h"

namespace ostal {

engine::PushResult TokenStream::push(const engine::TokenEvent& event) {
    if (gone_.load(std::memory_order_acquire)) return engine::PushResult::kGone;
    const bool queued = events_.try_push(event);
    if (!queued && !event.finish) return engine::PushResult::kFull;
    const std::lock_guard lock(mutex_);
    // The end has a place of its own: it is offered once when an engine goes, and must not be lost to a full queue.
    if (!queued) end_ = event;
    if (wake_) wake_();
    return engine::PushResult::kAccepted;
}

std::optional<engine::TokenEvent> TokenStream::pop() {
    if (auto event = events_.try_pop()) return event;
    const std::lock_guard lock(mutex_);
    // The producer puts the end after everything else: look at the queue again before giving it.
    if (!end_) return std::nullopt;
    if (auto event = events_.try_pop()) return event;
    return std::exchange(end_, std::nullopt);
}

void TokenStream::on_event(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
    // Events may have come before: a spurious wake is harmless, a missed one is not.
    if (wake_) wake_();
}

}  // namespace ostal
