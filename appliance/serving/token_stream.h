// The bounded stream between the engine's scheduler and the connection that writes an answer.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>

#include "base/queue.h"
#include "engine/token_sink.h"

namespace ostal {

// Producer: the scheduler thread (push). Consumer: one strand (pop). It belongs to the request, not to the
// socket: shared by the engine, which feeds it, and the answer, which reads it.
class TokenStream final : public engine::TokenSink {
public:
    explicit TokenStream(std::size_t capacity) : events_(capacity) {}

    engine::PushResult push(const engine::TokenEvent& event) override;

    // Called after each accepted event, on the scheduler thread; must be cheap and thread-safe. Set once.
    void on_event(std::function<void()> wake);
    // The next event, or nothing now.
    std::optional<engine::TokenEvent> pop();
    // The reader left: the next push answers kGone.
    void abandon() { gone_.store(true, std::memory_order_release); }

private:
    SpscQueue<engine::TokenEvent> events_;
    std::atomic<bool> gone_{false};
    std::mutex mutex_;
    std::function<void()> wake_;
    std::optional<engine::TokenEvent> end_;  // the last event, when the queue had no room for it
};

}  // namespace ostal
