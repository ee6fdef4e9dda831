#include "appliance/serving/token_stream.h"

namespace ostal {

engine::PushResult TokenStream::push(const engine::TokenEvent& event) {
    if (gone_.load(std::memory_order_acquire)) return engine::PushResult::kGone;
    if (!events_.try_push(event)) return engine::PushResult::kFull;
    const std::lock_guard lock(mutex_);
    if (wake_) wake_();
    return engine::PushResult::kAccepted;
}

void TokenStream::on_event(std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
    // Events may have come before: a spurious wake is harmless, a missed one is not.
    if (wake_) wake_();
}

}  // namespace ostal
