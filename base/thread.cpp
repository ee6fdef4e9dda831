#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <fstream>
#include <set>

namespace ostal {

NamedThread::NamedThread(const std::string& name, std::function<void()> body) {
    // Signals are handled by the thread that waits for them; blocked here so that the new thread inherits it.
    sigset_t all{};
    sigset_t before{};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([name, body = std::move(body)] {
        ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
        body();
    });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

NamedThread& NamedThread::operator=(NamedThread&& other) noexcept {
    join();
    thread_ = std::move(other.thread_);
    return *this;
}

NamedThread::~NamedThread() { join(); }

void NamedThread::join() {
    if (thread_.joinable()) thread_.join();
}

std::vector<int> physical_cpus() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return {0};
    std::vector<int> out;
    std::set<std::string> seen;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) continue;
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                           "/topology/thread_siblings_list");
        std::string siblings;
        std::getline(file, siblings);
        if (siblings.empty() || seen.insert(siblings).second) out.push_back(cpu);
    }
    if (out.empty()) out.push_back(0);
    return out;
}

bool pin_this_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    return ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set) == 0;
}

}  // namespace ostal
