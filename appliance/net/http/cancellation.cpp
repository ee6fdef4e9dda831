#include "appliance/net/http/cancellation.h"

#include <utility>

namespace ostal::http {

bool Cancellation::cancelled() const {
    const std::lock_guard lock(mutex_);
    return state_ == State::kCancelled;
}

void Cancellation::on_cancel(std::function<void()> callback) {
    {
        const std::lock_guard lock(mutex_);
        if (state_ == State::kOpen) {
            callbacks_.push_back(std::move(callback));
            return;
        }
        if (state_ == State::kFinished) return;
    }
    callback();
}

void Cancellation::cancel() {
    std::vector<std::function<void()>> callbacks;
    {
        const std::lock_guard lock(mutex_);
        if (state_ != State::kOpen) return;
        state_ = State::kCancelled;
        callbacks.swap(callbacks_);
    }
    for (const auto& callback : callbacks) callback();
}

void Cancellation::finish() {
    std::vector<std::function<void()>> dropped;  // destroyed after the lock is gone
    const std::lock_guard lock(mutex_);
    if (state_ != State::kOpen) return;
    state_ = State::kFinished;
    dropped.swap(callbacks_);
}

}  // namespace ostal::http
