#include "engine/runtime/inbox.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "base/check.h"

namespace ostal::engine {

Inbox::Inbox(std::int32_t max_unstarted, std::int32_t max_alive)
    : max_unstarted_(max_unstarted), max_alive_(max_alive) {
    CHECK(max_unstarted > 0 && max_alive >= max_unstarted);
    alive_.reserve(static_cast<std::size_t>(max_alive));
}

Status Inbox::submit(std::unique_ptr<ActiveRequest> request) {
    std::vector<std::unique_ptr<ActiveRequest>> one;
    one.push_back(std::move(request));
    return submit(std::move(one));
}

Status Inbox::submit(std::vector<std::unique_ptr<ActiveRequest>> requests) {
    const std::size_t count = requests.size();
    if (count > static_cast<std::size_t>(max_unstarted_)) {
        return fail(Code::kInvalidArgument, std::to_string(count) +
                                                " requests at once, but the queue holds " +
                                                std::to_string(max_unstarted_));
    }
    {
        const std::lock_guard lock(mutex_);
        if (closed_) {
            return fail(Error(Code::kUnavailable, "the engine takes no more requests").because("draining"));
        }
        if (static_cast<std::size_t>(unstarted_) + count > static_cast<std::size_t>(max_unstarted_) ||
            alive_.size() + count > static_cast<std::size_t>(max_alive_)) {
            return fail(Error(Code::kUnavailable,
                              "the engine's queue is full: " + std::to_string(unstarted_) + " requests wait")
                            .because("queue_full"));
        }
        for (std::size_t i = 0; i < count; ++i) {
            const RequestId id = requests[i]->id;
            if (alive_.emplace(id, false).second) continue;
            while (i > 0) alive_.erase(requests[--i]->id);
            return fail(Code::kConflict, "request id " + std::to_string(id) + " is in use");
        }
        unstarted_ += static_cast<std::int32_t>(count);
        for (auto& request : requests) submitted_.push_back(std::move(request));
    }
    something_came_.notify_one();
    return {};
}

void Inbox::cancel(RequestId id) {
    {
        const std::lock_guard lock(mutex_);
        const auto found = alive_.find(id);
        if (found == alive_.end() || found->second) return;
        found->second = true;
        cancelled_.push_back(id);
    }
    something_came_.notify_one();
}

void Inbox::close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
}

void Inbox::stop() {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        stop_ = true;
    }
    something_came_.notify_one();
}

bool Inbox::wait_until_idle(const Clock& clock, std::int64_t limit_us) {
    // In slices, because the limit is the clock's and the clock may be a test's.
    constexpr std::chrono::milliseconds kSlice{5};
    const std::int64_t start_us = clock.mono_now_us();
    std::unique_lock lock(mutex_);
    while (!alive_.empty()) {
        if (clock.mono_now_us() - start_us >= limit_us) return false;
        idle_.wait_for(lock, kSlice);
    }
    return true;
}

std::int64_t Inbox::untaken() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::int64_t>(submitted_.size());
}

void Inbox::take(Mail& mail, std::int64_t wait_us) {
    mail.submitted.clear();
    mail.cancelled.clear();
    std::unique_lock lock(mutex_);
    const auto something = [&] { return stop_ || !submitted_.empty() || !cancelled_.empty(); };
    if (wait_us > 0) something_came_.wait_for(lock, std::chrono::microseconds(wait_us), something);
    mail.submitted.swap(submitted_);
    mail.cancelled.swap(cancelled_);
    mail.stop = stop_;
}

void Inbox::note_started() {
    const std::lock_guard lock(mutex_);
    CHECK_GT(unstarted_, 0);
    --unstarted_;
}

void Inbox::note_ended(RequestId id, bool started) {
    {
        const std::lock_guard lock(mutex_);
        alive_.erase(id);
        if (!started) --unstarted_;
        if (!alive_.empty()) return;
    }
    idle_.notify_all();
}

}  // namespace ostal::engine
