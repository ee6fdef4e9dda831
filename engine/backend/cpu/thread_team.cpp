#include "engine/backend/cpu/thread_team.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"

namespace ostal::engine::cpu {
namespace {

// Some 30 us: longer than the gap between two operations of a step, shorter than a scheduler's time slice.
constexpr int kSpins = 1000;

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

long futex(std::atomic<std::uint32_t>& value, int operation, std::uint32_t argument) {
    static_assert(sizeof(value) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);
    return ::syscall(SYS_futex, &value, operation, argument, nullptr, nullptr, 0);
}

}  // namespace

std::uint32_t ThreadTeam::WaitWord::wait_while_equal(std::uint32_t old) {
    for (int i = 0; i < kSpins; ++i) {
        const std::uint32_t now = value.load(std::memory_order_acquire);
        if (now != old) return now;
        relax();
    }
    // Either wake() sees this sleeper, or the kernel's own look at the value sees the change: both sides are
    // sequentially consistent.
    sleepers.fetch_add(1);
    std::uint32_t now = value.load();
    while (now == old) {
        futex(value, FUTEX_WAIT_PRIVATE, old);
        now = value.load();
    }
    sleepers.fetch_sub(1, std::memory_order_relaxed);
    return now;
}

void ThreadTeam::WaitWord::wake() {
    if (sleepers.load() > 0) futex(value, FUTEX_WAKE_PRIVATE, std::numeric_limits<std::int32_t>::max());
}

ThreadTeam::ThreadTeam(std::int32_t size, std::vector<int> cpus) : size_(size), cpus_(std::move(cpus)) {
    CHECK_GE(size, 1);
    for (std::int32_t member = 1; member < size; ++member) {
        threads_.emplace_back("cpu-team-" + std::to_string(member), [this, member] { member_loop(member); });
    }
}

ThreadTeam::~ThreadTeam() {
    stop_.store(true, std::memory_order_relaxed);
    generation_.value.fetch_add(1);
    generation_.wake();
    threads_.clear();  // joins
}

void ThreadTeam::pin_caller() const {
    if (!cpus_.empty()) pin_this_thread(cpus_[0]);
}

void ThreadTeam::run_job(Job job) {
    if (size_ > 1) {
        job_ = job;
        running_.value.store(static_cast<std::uint32_t>(size_ - 1), std::memory_order_relaxed);
        generation_.value.fetch_add(1);
        generation_.wake();
    }
    job.function(job.context, 0);
    if (size_ > 1) {
        std::uint32_t left = running_.value.load(std::memory_order_acquire);
        while (left != 0) left = running_.wait_while_equal(left);
    }
}

void ThreadTeam::member_loop(std::int32_t member) {
    if (static_cast<std::size_t>(member) < cpus_.size())
        pin_this_thread(cpus_[static_cast<std::size_t>(member)]);
    std::uint32_t seen = 0;
    while (true) {
        seen = generation_.wait_while_equal(seen);
        if (stop_.load(std::memory_order_relaxed)) return;
        job_.function(job_.context, member);
        if (running_.value.fetch_sub(1) == 1) running_.wake();
    }
}

Slice slice_of(std::int64_t count, std::int64_t grain, std::int32_t member, std::int32_t members) {
    const std::int64_t grains = (count + grain - 1) / grain;
    return {std::min(count, grains * member / members * grain),
            std::min(count, grains * (member + 1) / members * grain)};
}

}  // namespace ostal::engine::cpu
