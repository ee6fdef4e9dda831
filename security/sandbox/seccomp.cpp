#include <seccomp.h>
#include <sys/socket.h>

#include <cerrno>
#include <initializer_list>
#include <memory>

#include "security/sandbox/harden.h"

namespace ostal::security {
namespace {

struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;

[[maybe_unused]] Status add(const Filter& filter, std::uint32_t action, std::initializer_list<int> calls) {
    for (const int call : calls) {
        const int result = ::seccomp_rule_add_array(filter.get(), action, call, 0, nullptr);
        // A call that this architecture does not have needs no rule.
        if (result < 0 && result != -EDOM) return fail(errno_error(-result, "cannot build the system-call filter"));
    }
    return {};
}

[[maybe_unused]] Result<Confinement> load(const Filter& filter) {
    const int result = ::seccomp_load(filter.get());
    if (result < 0) return fail(errno_error(-result, "cannot enter the system-call filter"));
    return Confinement::kActive;
}

// What the worker does: its job on given descriptors, memory, time, end.
constexpr std::initializer_list<int> kWorkerCalls = {
    SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(close),
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
    SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit_group),
    SCMP_SYS(exit), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(rt_sigprocmask)};

}  // namespace

#ifdef OSTAL_SANITIZED

Result<Confinement> restrict_system_calls() { return Confinement::kUnsupported; }
Result<Confinement> restrict_zygote_calls() { return Confinement::kUnsupported; }
Result<Confinement> restrict_worker_calls() { return Confinement::kUnsupported; }

#else

Result<Confinement> restrict_system_calls() {
    const Filter filter(::seccomp_init(SCMP_ACT_ALLOW));
    OSTAL_TRYV(add(filter, SCMP_ACT_KILL_PROCESS,
                   {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
                    SCMP_SYS(process_vm_writev), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
                    SCMP_SYS(chroot), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
                    SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
                    SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setreuid),
                    SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups),
                    SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(settimeofday),
                    SCMP_SYS(clock_settime), SCMP_SYS(add_key), SCMP_SYS(keyctl), SCMP_SYS(request_key),
                    SCMP_SYS(userfaultfd), SCMP_SYS(open_by_handle_at), SCMP_SYS(syslog), SCMP_SYS(acct)}));
    OSTAL_TRYV(add(filter, SCMP_ACT_ERRNO(EPERM), {SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(io_uring_setup)}));
    // glibc falls back from clone3 to clone, whose flags a filter can read: threads yes, processes no.
    OSTAL_TRYV(add(filter, SCMP_ACT_ERRNO(ENOSYS), {SCMP_SYS(clone3)}));
    constexpr std::uint64_t kCloneThread = 0x00010000;
    const scmp_arg_cmp no_thread = SCMP_A0_64(SCMP_CMP_MASKED_EQ, kCloneThread, 0);
    int result = ::seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &no_thread);
    if (result < 0) return fail(errno_error(-result, "cannot build the system-call filter"));
    const scmp_arg_cmp not_unix = SCMP_A0_64(SCMP_CMP_NE, AF_UNIX);
    result = ::seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, &not_unix);
    if (result < 0) return fail(errno_error(-result, "cannot build the system-call filter"));
    return load(filter);
}

Result<Confinement> restrict_zygote_calls() {
    const Filter filter(::seccomp_init(SCMP_ACT_KILL_PROCESS));
    OSTAL_TRYV(add(filter, SCMP_ACT_ALLOW, kWorkerCalls));
    OSTAL_TRYV(add(filter, SCMP_ACT_ALLOW,
                   {SCMP_SYS(clone), SCMP_SYS(fork), SCMP_SYS(wait4), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
                    SCMP_SYS(prctl), SCMP_SYS(getppid), SCMP_SYS(seccomp), SCMP_SYS(mmap), SCMP_SYS(mprotect)}));
    OSTAL_TRYV(add(filter, SCMP_ACT_ERRNO(ENOSYS), {SCMP_SYS(clone3)}));
    return load(filter);
}

Result<Confinement> restrict_worker_calls() {
    const Filter filter(::seccomp_init(SCMP_ACT_KILL_PROCESS));
    OSTAL_TRYV(add(filter, SCMP_ACT_ALLOW, kWorkerCalls));
    // Anonymous memory only: a descriptor of -1.
    const scmp_arg_cmp anonymous = SCMP_A4_32(SCMP_CMP_EQ, 0xFFFFFFFFU);
    int result = ::seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &anonymous);
    if (result < 0) return fail(errno_error(-result, "cannot build the system-call filter"));
    // malloc's arenas grow by mprotect; never to executable.
    constexpr std::uint64_t kProtExec = 4;
    const scmp_arg_cmp not_executable = SCMP_A2_64(SCMP_CMP_MASKED_EQ, kProtExec, 0);
    result = ::seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &not_executable);
    if (result < 0) return fail(errno_error(-result, "cannot build the system-call filter"));
    return load(filter);
}

#endif

}  // namespace ostal::security
