#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "security/sandbox/harden.h"

namespace ostal::security {
namespace {

// Rights of ABI 2 (Linux 5.19); earlier headers lack REFER.
constexpr std::uint64_t kRefer = 1ULL << 13;
constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t kReadAll = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kWriteAll =
    kReadAll | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK;
constexpr std::uint64_t kHandled = kWriteAll | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                                   LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                                   LANDLOCK_ACCESS_FS_MAKE_SYM;

[[maybe_unused]] Status allow(int ruleset, const std::string& path, std::uint64_t rights) {
    const int fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) return {};
        return fail(errno_error(errno, "cannot open " + path + " for its Landlock rule"));
    }
    struct stat info{};
    if (::fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode)) {
        rights &= kReadFile | LANDLOCK_ACCESS_FS_WRITE_FILE;
    }
    landlock_path_beneath_attr rule{};
    rule.allowed_access = rights;
    rule.parent_fd = fd;
    const long result = ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    const int error_number = errno;
    ::close(fd);
    if (result != 0) return fail(errno_error(error_number, "cannot add the Landlock rule of " + path));
    return {};
}

[[maybe_unused]] Result<Confinement> enter(int ruleset, const FileAccess& access, std::uint64_t refer) {
    for (const std::string& path : access.read_only) OSTAL_TRYV(allow(ruleset, path, kReadAll));
    for (const std::string& path : access.read_write) OSTAL_TRYV(allow(ruleset, path, kWriteAll | refer));
    if (::syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        return fail(errno_error(errno, "cannot enter Landlock (no_new_privs must be set)"));
    }
    return Confinement::kActive;
}

}  // namespace

Result<Confinement> restrict_file_access(const FileAccess& access) {
#ifdef OSTAL_SANITIZED
    (void)access;
    return Confinement::kUnsupported;
#else
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0) return Confinement::kUnsupported;
    const std::uint64_t refer = abi >= 2 ? kRefer : 0;
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = kHandled | refer;
    const long ruleset = ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0) return fail(errno_error(errno, "cannot make a Landlock rule set"));
    auto result = enter(static_cast<int>(ruleset), access, refer);
    ::close(static_cast<int>(ruleset));
    return result;
#endif
}

}  // namespace ostal::security
