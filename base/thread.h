// Named threads. Every thread of the daemon is in the table of docs/architecture.md.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace ostal {

// A thread with a name (at most 15 characters, seen in ps -L) that is joined by the destructor; its
// owner makes the function return first. All signals are blocked in it.
class NamedThread {
public:
    NamedThread() = default;
    NamedThread(const std::string& name, std::function<void()> body);
    NamedThread(NamedThread&&) = default;
    NamedThread& operator=(NamedThread&& other) noexcept;
    ~NamedThread();
    void join();
    bool joinable() const { return thread_.joinable(); }

private:
    std::thread thread_;
};

// One logical CPU of every physical core this process may run on, sorted.
std::vector<int> physical_cpus();
// Pins the calling thread; false where the system does not allow it.
bool pin_this_thread(int cpu);

}  // namespace ostal
