// Bounded queues: the only way data crosses threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace ostal {

// Many producers, many consumers, at most `capacity` elements. All methods are thread-safe. After close()
// pushes are refused, pops drain what is left and then return nothing.
template <typename T>
class BoundedQueue {
public:
    explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) { CHECK_GT(capacity, 0U); }

    // False when full or closed; never waits.
    [[nodiscard]] bool try_push(T value) {
        {
            const std::lock_guard lock(mutex_);
            if (closed_ || items_.size() >= capacity_) return false;
            items_.push_back(std::move(value));
        }
        not_empty_.notify_one();
        return true;
    }
    // Waits for room; false when closed.
    [[nodiscard]] bool push(T value) {
        {
            std::unique_lock lock(mutex_);
            not_full_.wait(lock, [&] { return closed_ || items_.size() < capacity_; });
            if (closed_) return false;
            items_.push_back(std::move(value));
        }
        not_empty_.notify_one();
        return true;
    }
    std::optional<T> try_pop() {
        std::optional<T> out;
        {
            const std::lock_guard lock(mutex_);
            if (items_.empty()) return std::nullopt;
            out = take();
        }
        not_full_.notify_one();
        return out;
    }
    // Waits; nothing when closed and drained.
    std::optional<T> pop() {
        std::optional<T> out;
        {
            std::unique_lock lock(mutex_);
            not_empty_.wait(lock, [&] { return closed_ || !items_.empty(); });
            if (items_.empty()) return std::nullopt;
            out = take();
        }
        not_full_.notify_one();
        return out;
    }
    // As pop(), or nothing after `limit`.
    std::optional<T> pop_for(std::chrono::microseconds limit) {
        std::optional<T> out;
        {
            std::unique_lock lock(mutex_);
            not_empty_.wait_for(lock, limit, [&] { return closed_ || !items_.empty(); });
            if (items_.empty()) return std::nullopt;
            out = take();
        }
        not_full_.notify_one();
        return out;
    }
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        not_empty_.notify_all();
        not_full_.notify_all();
    }
    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return items_.size();
    }

private:
    T take() {
        T value = std::move(items_.front());
        items_.pop_front();
        return value;
    }
    const std::size_t capacity_;
    mutable std::mutex mutex_;
    std::condition_variable not_empty_;
    std::condition_variable not_full_;
    std::deque<T> items_;
    bool closed_ = false;
};

// One producer thread, one consumer thread, wait-free, at most `capacity` elements.
template <typename T>
class SpscQueue {
public:
    explicit SpscQueue(std::size_t capacity) : slots_(capacity + 1) {}

    [[nodiscard]] bool try_push(T value) {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        const std::size_t next = advance(tail);
        if (next == head_.load(std::memory_order_acquire)) return false;
        slots_[tail] = std::move(value);
        tail_.store(next, std::memory_order_release);
        return true;
    }
    std::optional<T> try_pop() {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
        std::optional<T> value(std::move(slots_[head]));
        head_.store(advance(head), std::memory_order_release);
        return value;
    }
    bool empty() const {
        return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
    }

private:
    std::size_t advance(std::size_t index) const { return index + 1 == slots_.size() ? 0 : index + 1; }
    std::vector<T> slots_;
    alignas(64) std::atomic<std::size_t> head_{0};
    alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace ostal
