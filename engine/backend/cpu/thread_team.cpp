#include "engine/backend/cpu/thread_team.h"

#include <algorithm>
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

// Returns once `value` differs from `old`, which it returns.
template <typename T>
T wait_while_equal(const std::atomic<T>& value, T old) {
    for (int i = 0; i < kSpins; ++i) {
        const T now = value.load(std::memory_order_acquire);
        if (now != old) return now;
        relax();
    }
    value.wait(old, std::memory_order_acquire);
    return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadTeam::ThreadTeam(std::int32_t size, std::vector<int> cpus) : size_(size), cpus_(std::move(cpus)) {
    CHECK_GE(size, 1);
    for (std::int32_t member = 1; member < size; ++member) {
        threads_.emplace_back("cpu-team-" + std::to_string(member), [this, member] { member_loop(member); });
    }
}

ThreadTeam::~ThreadTeam() {
    stop_.store(true, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    threads_.clear();  // joins
}

void ThreadTeam::pin_caller() const {
    if (!cpus_.empty()) pin_this_thread(cpus_[0]);
}

void ThreadTeam::run_job(Job job) {
    if (size_ > 1) {
        job_ = job;
        running_.store(size_ - 1, std::memory_order_relaxed);
        generation_.fetch_add(1, std::memory_order_release);
        generation_.notify_all();
    }
    job.function(job.context, 0);
    if (size_ > 1) {
        std::int32_t left = running_.load(std::memory_order_acquire);
        while (left != 0) left = wait_while_equal(running_, left);
    }
}

void ThreadTeam::member_loop(std::int32_t member) {
    if (static_cast<std::size_t>(member) < cpus_.size())
        pin_this_thread(cpus_[static_cast<std::size_t>(member)]);
    std::uint32_t seen = 0;
    while (true) {
        seen = wait_while_equal(generation_, seen);
        if (stop_.load(std::memory_order_relaxed)) return;
        job_.function(job_.context, member);
        if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
    }
}

Slice slice_of(std::int64_t count, std::int64_t grain, std::int32_t member, std::int32_t members) {
    const std::int64_t grains = (count + grain - 1) / grain;
    return {std::min(count, grains * member / members * grain),
            std::min(count, grains * (member + 1) / members * grain)};
}

}  // namespace ostal::engine::cpu
