// A fault at the k-th system call of a real daemon: a shared object for LD_PRELOAD, built for tests alone, never
// installed. The daemon has no hook for it; tests/system/faults.py drives it.
//
//   OSTAL_FAULT_STATE    the folder whose files count (an absolute path, as the daemon's configuration names it)
//   OSTAL_FAULT_CONTROL  a file of sizeof(Control) bytes, shared with the test: what to do, and what was seen
//
// The control file is mapped before main(), so that neither Landlock nor seccomp, which the daemon enters later
// and keeps, is in the way. While `armed` is set, each call of the daemon's own process (not of its zygote) that
// changes something below the folder is counted and named in `trace`; call number `at` meets the fault.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

enum Kind : std::uint32_t {
    kCount = 0,   // only count
    kKill = 1,    // SIGKILL instead of the call
    kTorn = 2,    // SIGKILL after half of a write
    kNoSpace = 3, // ENOSPC, and for every later call that needs space: a full disk stays full
    kIo = 4,      // EIO, once
    kShort = 5,   // half of a write is written, which is no error
};

constexpr std::size_t kTraceLines = 8192;
constexpr std::size_t kTraceWidth = 64;

// The test reads and writes it under the same layout (little-endian).
struct Control {
    std::atomic<std::uint32_t> armed;
    std::atomic<std::uint32_t> kind;
    std::atomic<std::uint64_t> at;     // from 1
    std::atomic<std::uint64_t> calls;  // counted
    std::atomic<std::uint64_t> fired;  // calls that met a fault
    char only[32];  // count only calls whose trace line begins so; "": all
    char trace[kTraceLines][kTraceWidth];  // "call path", NUL-terminated; call i at i - 1
};
static_assert(sizeof(Control) == 64 + kTraceLines * kTraceWidth);

constexpr int kMaxDescriptors = 4096;
constexpr std::size_t kMaxName = 48;

Control* control = nullptr;
char state_folder[512];
std::size_t state_length = 0;
pid_t owner = 0;
char names[kMaxDescriptors][kMaxName];  // path below the folder of each descriptor; "" for others

template <typename Function>
Function* real(const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// The part below the state folder; nullptr for other paths.
const char* below(const char* path) {
    if (control == nullptr || path == nullptr || std::strncmp(path, state_folder, state_length) != 0) return nullptr;
    if (path[state_length] == '\0') return ".";
    return path[state_length] == '/' ? path + state_length + 1 : nullptr;
}

const char* name_of(int descriptor) {
    if (control == nullptr || descriptor < 0 || descriptor >= kMaxDescriptors) return nullptr;
    return names[descriptor][0] == '\0' ? nullptr : names[descriptor];
}

void remember(int descriptor, const char* name) {
    if (descriptor < 0 || descriptor >= kMaxDescriptors) return;
    std::snprintf(names[descriptor], kMaxName, "%s", name == nullptr ? "" : name);
}

enum class Meets { kNothing, kError, kHalf, kHalfAndDeath };

[[noreturn]] void die() {
    ::syscall(SYS_kill, ::syscall(SYS_getpid), SIGKILL);
    for (;;) ::syscall(SYS_pause);
}

// Counts a call on `name` and says what it meets; errno is set for kError.
Meets meet(const char* call, const char* name, bool needs_space, bool is_write) {
    if (name == nullptr || control->armed.load() == 0 || ::syscall(SYS_getpid) != owner) return Meets::kNothing;
    char line[kTraceWidth];
    std::snprintf(line, sizeof line, "%s %s", call, name);
    if (std::strncmp(line, control->only, ::strnlen(control->only, sizeof control->only)) != 0) return Meets::kNothing;
    const std::uint64_t number = ++control->calls;
    if (number <= kTraceLines) std::memcpy(control->trace[number - 1], line, sizeof line);
    const auto kind = static_cast<Kind>(control->kind.load());
    const std::uint64_t at = control->at.load();
    const bool now = number == at;
    if (kind == kNoSpace && (now || (needs_space && at != 0 && number > at))) {
        ++control->fired;
        errno = ENOSPC;
        return Meets::kError;
    }
    if (!now || kind == kCount || kind == kNoSpace) return Meets::kNothing;
    if ((kind == kTorn || kind == kShort) && !is_write) return Meets::kNothing;
    ++control->fired;
    if (kind == kKill) die();
    if (kind == kTorn) return Meets::kHalfAndDeath;
    if (kind == kShort) return Meets::kHalf;
    errno = EIO;
    return Meets::kError;
}

// A write of `count` bytes by `put(count)`.
template <typename Put>
ssize_t write_with(const char* call, int descriptor, std::size_t count, Put put) {
    switch (meet(call, name_of(descriptor), true, count > 1)) {
        case Meets::kNothing: return put(count);
        case Meets::kError: return -1;
        case Meets::kHalf: return put(count / 2);
        case Meets::kHalfAndDeath: put(count / 2); die();
    }
    return -1;
}

// Any other call, by `run()`.
template <typename Run>
auto call_with(const char* call, const char* name, bool needs_space, Run run) -> decltype(run()) {
    return meet(call, name, needs_space, false) == Meets::kError ? -1 : run();
}

template <typename Run>
int open_with(const char* path, int flags, Run run) {
    const char* name = below(path);
    struct stat unused{};
    const bool creates = (flags & O_CREAT) != 0 && name != nullptr && ::lstat(path, &unused) != 0;
    const int descriptor = creates ? call_with("open", name, true, run) : run();
    remember(descriptor, name);
    return descriptor;
}

__attribute__((constructor)) void begin() {
    const char* folder = std::getenv("OSTAL_FAULT_STATE");
    const char* path = std::getenv("OSTAL_FAULT_CONTROL");
    if (folder == nullptr || path == nullptr) return;
    std::snprintf(state_folder, sizeof state_folder, "%s", folder);
    state_length = std::strlen(state_folder);
    owner = ::getpid();
    const int descriptor = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC));
    void* page = descriptor < 0 ? MAP_FAILED
                                : ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (page == MAP_FAILED) {
        std::fprintf(stderr, "fault_preload: cannot map %s\n", path);
        std::abort();
    }
    ::syscall(SYS_close, descriptor);
    control = static_cast<Control*>(page);
}

mode_t mode_argument(int flags, va_list arguments) {
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

extern "C" {

#define OSTAL_OPEN(symbol)                                                             \
    int symbol(const char* path, int flags, ...) {                                     \
        va_list arguments;                                                             \
        va_start(arguments, flags);                                                    \
        const mode_t mode = mode_argument(flags, arguments);                           \
        va_end(arguments);                                                             \
        static const auto next = real<int(const char*, int, ...)>(#symbol);            \
        return open_with(path, flags, [&] { return next(path, flags, mode); });        \
    }
OSTAL_OPEN(open)
OSTAL_OPEN(open64)

#define OSTAL_OPENAT(symbol)                                                              \
    int symbol(int folder, const char* path, int flags, ...) {                            \
        va_list arguments;                                                                \
        va_start(arguments, flags);                                                       \
        const mode_t mode = mode_argument(flags, arguments);                              \
        va_end(arguments);                                                                \
        static const auto next = real<int(int, const char*, int, ...)>(#symbol);          \
        return open_with(path, flags, [&] { return next(folder, path, flags, mode); });   \
    }
OSTAL_OPENAT(openat)
OSTAL_OPENAT(openat64)

int close(int descriptor) {
    static const auto next = real<int(int)>("close");
    remember(descriptor, nullptr);
    return next(descriptor);
}

ssize_t write(int descriptor, const void* from, size_t count) {
    static const auto next = real<ssize_t(int, const void*, size_t)>("write");
    return write_with("write", descriptor, count, [&](size_t n) { return next(descriptor, from, n); });
}

#define OSTAL_PWRITE(symbol)                                                                                     \
    ssize_t symbol(int descriptor, const void* from, size_t count, off64_t offset) {                             \
        static const auto next = real<ssize_t(int, const void*, size_t, off64_t)>(#symbol);                      \
        return write_with("pwrite", descriptor, count, [&](size_t n) { return next(descriptor, from, n, offset); }); \
    }
OSTAL_PWRITE(pwrite)
OSTAL_PWRITE(pwrite64)

// Half of a vector is its first part.
ssize_t writev(int descriptor, const struct iovec* parts, int count) {
    static const auto next = real<ssize_t(int, const struct iovec*, int)>("writev");
    return write_with("writev", descriptor, static_cast<std::size_t>(count),
                      [&](size_t n) { return next(descriptor, parts, static_cast<int>(n)); });
}

int fsync(int descriptor) {
    static const auto next = real<int(int)>("fsync");
    return call_with("fsync", name_of(descriptor), false, [&] { return next(descriptor); });
}
int fdatasync(int descriptor) {
    static const auto next = real<int(int)>("fdatasync");
    return call_with("fdatasync", name_of(descriptor), false, [&] { return next(descriptor); });
}

#define OSTAL_TRUNCATE(symbol)                                                                     \
    int symbol(int descriptor, off64_t size) {                                                     \
        static const auto next = real<int(int, off64_t)>(#symbol);                                 \
        return call_with("ftruncate", name_of(descriptor), false, [&] { return next(descriptor, size); }); \
    }
OSTAL_TRUNCATE(ftruncate)
OSTAL_TRUNCATE(ftruncate64)

#define OSTAL_ALLOCATE(symbol)                                                                     \
    int symbol(int descriptor, int mode, off64_t offset, off64_t size) {                           \
        static const auto next = real<int(int, int, off64_t, off64_t)>(#symbol);                   \
        return call_with("fallocate", name_of(descriptor), true,                                   \
                         [&] { return next(descriptor, mode, offset, size); });                    \
    }
OSTAL_ALLOCATE(fallocate)
OSTAL_ALLOCATE(fallocate64)

int rename(const char* from, const char* to) {
    static const auto next = real<int(const char*, const char*)>("rename");
    return call_with("rename", below(to), false, [&] { return next(from, to); });
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) {
    static const auto next = real<int(int, const char*, int, const char*)>("renameat");
    return call_with("rename", below(to), false, [&] { return next(from_folder, from, to_folder, to); });
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
    static const auto next = real<int(int, const char*, int, const char*, unsigned)>("renameat2");
    return call_with("rename", below(to), false, [&] { return next(from_folder, from, to_folder, to, flags); });
}
int unlink(const char* path) {
    static const auto next = real<int(const char*)>("unlink");
    return call_with("unlink", below(path), false, [&] { return next(path); });
}
int unlinkat(int folder, const char* path, int flags) {
    static const auto next = real<int(int, const char*, int)>("unlinkat");
    return call_with("unlink", below(path), false, [&] { return next(folder, path, flags); });
}
int rmdir(const char* path) {
    static const auto next = real<int(const char*)>("rmdir");
    return call_with("rmdir", below(path), false, [&] { return next(path); });
}
int mkdir(const char* path, mode_t mode) {
    static const auto next = real<int(const char*, mode_t)>("mkdir");
    struct stat unused{};
    const char* name = ::lstat(path, &unused) == 0 ? nullptr : below(path);
    return call_with("mkdir", name, true, [&] { return next(path, mode); });
}
int link(const char* from, const char* to) {
    static const auto next = real<int(const char*, const char*)>("link");
    return call_with("link", below(to), true, [&] { return next(from, to); });
}

}  // extern "C"
