// Cancellation: tells whoever works on a request that its client went away.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

namespace ostal::http {

// Thread-safe. It ends in one of two ways, whichever comes first: cancel() (the client closed, reset or
// half-closed the connection, or the server stops) or finish() (the answer was given). From then on a
// streamed answer is cancelled by the destruction of its BodySource instead.
class Cancellation {
public:
    // True once cancel() won.
    bool cancelled() const;
    // Calls `callback` once if cancel() wins, at once in this thread if it already has; drops it if finish()
    // wins. It runs on an I/O thread, so it must not block or throw, and it owns (or holds weakly) what it
    // touches: finish() does not wait for a callback that has begun.
    void on_cancel(std::function<void()> callback);

    // The connection's side.
    void cancel();
    void finish();

private:
    enum class State { kOpen, kCancelled, kFinished };
    mutable std::mutex mutex_;
    State state_ = State::kOpen;
    std::vector<std::function<void()>> callbacks_;
};

}  // namespace ostal::http
