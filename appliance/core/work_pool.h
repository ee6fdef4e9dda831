// The `work` threads: handlers, database, Argon2, tokenising. They never wait for a token.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/queue.h"
#include "base/thread.h"

namespace ostal {

class WorkPool {
public:
    // Threads are named `<name>-0`, `<name>-1` ...
    WorkPool(const std::string& name, int threads, std::size_t capacity, LogSink& log)
        : queue_(capacity), log_(log) {
        for (int i = 0; i < threads; ++i) {
            threads_.emplace_back(name + "-" + std::to_string(i), [this] {
                while (auto job = queue_.pop()) run(*job);
            });
        }
    }
    ~WorkPool() { stop(); }
    // False when the queue is full or the pool has stopped: the caller answers 503.
    [[nodiscard]] bool try_run(std::function<void()> job) { return queue_.try_push(std::move(job)); }
    // Runs what is queued, then joins.
    void stop() {
        queue_.close();
        for (NamedThread& thread : threads_) thread.join();
    }

private:
    // Nothing should throw out of a job; what does must not end the daemon. Who waits for the job's answer
    // hears of the loss when the job is destroyed (http::Admit, http::Respond).
    void run(const std::function<void()>& job) {
        try {
            job();
        } catch (const std::exception& thrown) {
            log_.error("a job threw", {{"what", thrown.what()}});
        } catch (...) {
            log_.error("a job threw");
        }
    }

    BoundedQueue<std::function<void()>> queue_;
    LogSink& log_;
    std::vector<NamedThread> threads_;
};

}  // namespace ostal
