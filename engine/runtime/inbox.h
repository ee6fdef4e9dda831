// The bounded way from any thread to the scheduler thread: new requests and cancellations.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/runtime/active_request.h"

namespace ostal::engine {

// What came since the last look; its vectors are reused.
struct Mail {
    std::vector<std::unique_ptr<ActiveRequest>> submitted;  // in the order of submit()
    std::vector<RequestId> cancelled;                       // among them may be ids of `submitted`
    bool stop = false;
};

// Bounded by the requests alive: at most `max_unstarted` that never ran and `max_alive` in all, and one
// cancellation for each. All methods are thread-safe; those under "scheduler thread" are called by it alone.
class Inbox {
public:
    Inbox(std::int32_t max_unstarted, std::int32_t max_alive);

    // All or none. kUnavailable (reason "queue_full" or "draining"), kConflict (an id is alive or comes
    // twice), kInvalidArgument (more than max_unstarted).
    Status submit(std::vector<std::unique_ptr<ActiveRequest>> requests);
    Status submit(std::unique_ptr<ActiveRequest> request);
    // Unknown ids are ignored: the request has just ended.
    void cancel(RequestId id);
    // No more submit().
    void close();
    // As close(), and the scheduler thread is told to end.
    void stop();
    // True when no request is alive; false when the clock has moved on by `limit_us` before.
    bool wait_until_idle(const Clock& clock, std::int64_t limit_us);
    std::int64_t untaken() const;

    // --- scheduler thread ---
    // Takes what is there, after waiting for something for at most `wait_us`.
    void take(Mail& mail, std::int64_t wait_us);
    // A request was admitted to its first step.
    void note_started();
    // A request has ended and its sink was let go.
    void note_ended(RequestId id, bool started);

private:
    const std::int32_t max_unstarted_;
    const std::int32_t max_alive_;
    mutable std::mutex mutex_;
    std::condition_variable something_came_;
    std::condition_variable idle_;
    std::unordered_map<RequestId, bool> alive_;  // value: cancel() was called
    std::vector<std::unique_ptr<ActiveRequest>> submitted_;
    std::vector<RequestId> cancelled_;
    std::int32_t unstarted_ = 0;
    bool closed_ = false;
    bool stop_ = false;
};

}  // namespace ostal::engine
