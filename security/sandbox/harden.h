// Process hardening: what the daemon gives up, and when.
//
// Order at start (docs/architecture.md): harden_process() first, then the zygote, then listeners, then
// restrict_file_access() and restrict_system_calls(), then threads. Builds with a sanitizer skip the last
// two: their run-time needs calls that the filter forbids.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace ostal::security {

// No new privileges, no core dumps, not dumpable (ptrace and /proc/<pid>/mem closed to other users), umask
// 077. Call before anything secret is in memory.
Status harden_process();

struct FileAccess {
    std::vector<std::string> read_only;   // files or folders; what does not exist is left out
    std::vector<std::string> read_write;  // folders; the right to rename between them is granted (REFER)
};

enum class Confinement {
    kActive,
    kUnsupported,  // the kernel has no Landlock, or this is a sanitizer build: `ostalctl doctor` says so
};

// Landlock (Linux 5.13; ABI 2 for REFER). After it this process opens nothing outside `access`. kIo on
// a failing call.
Result<Confinement> restrict_file_access(const FileAccess& access);

// seccomp filter of the daemon: execve, ptrace, mount, module, kexec, bpf, namespaces and user changes kill
// the process; new sockets other than AF_UNIX and new processes fail with EPERM. Applies to every thread
// made later; call before any.
Result<Confinement> restrict_system_calls();

// seccomp filter of the zygote: what it needs to fork workers and what workers need.
Result<Confinement> restrict_zygote_calls();
// seccomp filter of a verify worker: read, write, memory, clock and exit on descriptors that it was given;
// it opens nothing.
Result<Confinement> restrict_worker_calls();

}  // namespace ostal::security
