// The zygote: a process forked before any thread, key, lock or listener existed, that forks one worker per job
// so that untrusted files are parsed in a process that owns nothing (contracts: one process with threads never
// forks).
//
// Protocol on a seqpacket socket: one message a job {request bytes + descriptors, the first of which is the
// job's own reply socket}. The worker runs the job function and sends one reply; a worker that dies closes its
// socket and the caller sees "the worker died".
#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>

#include "base/result.h"

namespace ostal::security {

// Runs in the worker: the request and the descriptors that came with it, in order. Returns the reply (at most
// kMaxMessageBytes). It may read the descriptors and use memory; any other system call kills the worker.
using WorkerJob = std::function<std::string(const std::string& request, std::span<const int> descriptors)>;

class Zygote {
public:
    static constexpr std::size_t kMaxMessageBytes = 128 * 1024;
    static constexpr std::size_t kMaxDescriptors = 200;

    // Forks. In the child: closes every descriptor but its socket, clears the environment, ends with its parent
    // (PDEATHSIG, EOF), enters its filter and serves jobs for ever. Call with one thread running. kIo.
    static Result<Zygote> start(WorkerJob job);

    Zygote(Zygote&& other) noexcept;
    Zygote& operator=(Zygote&&) = delete;
    // Closes the socket, which ends the zygote, and reaps it.
    ~Zygote();

    // Runs one job and waits for its reply, at most `limit_us`. Thread-safe. kUnavailable when the zygote is
    // gone (imports answer 503 until a restart), kIntegrity when the worker died on its input,
    // kDeadlineExceeded, kTooLarge.
    Result<std::string> run(const std::string& request, std::span<const int> descriptors, std::int64_t limit_us);

    int process_id() const { return pid_; }

private:
    Zygote(int socket, int pid) : socket_(socket), pid_(pid) {}
    int socket_;
    int pid_;
    std::mutex mutex_;
};

}  // namespace ostal::security
