// ThreadTeam: fork and join over a fixed set of threads; the calling thread is member 0.
//
// Members wait for the next job by spinning for some microseconds, so that the operations of a step follow
// each other without a system call, and then sleep. Work is split by member number alone, so results never
// depend on which thread was faster.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/thread.h"

namespace ostal::engine::cpu {

// run() is called by one thread at a time. The destructor ends and joins the members.
class ThreadTeam {
public:
    // `size` members, the caller included: starts size - 1 threads. Given CPUs (by member), members pin
    // themselves; where the system forbids it they run unpinned.
    ThreadTeam(std::int32_t size, std::vector<int> cpus);
    ~ThreadTeam();
    ThreadTeam(const ThreadTeam&) = delete;
    ThreadTeam& operator=(const ThreadTeam&) = delete;

    std::int32_t size() const { return size_; }
    // Pins the calling thread to member 0's CPU, if there is one.
    void pin_caller() const;

    // Calls body(member) once for each member in [0, size), on the member's thread, and returns when all have
    // returned. What they wrote is visible to the caller. Does not allocate.
    template <typename Body>
    void run(Body&& body) {
        using Plain = std::remove_reference_t<Body>;
        run_job({[](void* context, std::int32_t member) { (*static_cast<Plain*>(context))(member); },
                 const_cast<void*>(static_cast<const void*>(&body))});
    }

private:
    struct Job {
        void (*function)(void* context, std::int32_t member) = nullptr;
        void* context = nullptr;
    };
    // A number that threads wait for: by spinning, then in the kernel (futex(2)). std::atomic::wait would
    // yield several times before it sleeps, and on a busy machine each yield is a turn of all other threads.
    struct WaitWord {
        std::atomic<std::uint32_t> value{0};
        std::atomic<std::int32_t> sleepers{0};
        // Returns once the value differs from `old`: the new value.
        std::uint32_t wait_while_equal(std::uint32_t old);
        // After the value has changed.
        void wake();
    };
    void run_job(Job job);
    void member_loop(std::int32_t member);

    std::int32_t size_;
    std::vector<int> cpus_;
    Job job_;  // written before generation_ rises, read after
    WaitWord generation_;
    WaitWord running_;  // members other than the caller that have not finished the job
    std::atomic<bool> stop_{false};
    std::vector<NamedThread> threads_;
};

// Member `member`'s part of [0, count), cut at multiples of `grain`.
struct Slice {
    std::int64_t begin;
    std::int64_t end;
};
Slice slice_of(std::int64_t count, std::int64_t grain, std::int32_t member, std::int32_t members);

}  // namespace ostal::engine::cpu
