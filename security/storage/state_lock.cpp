#include "security/storage/state_lock.h"

#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace ostal::security {
namespace {

// The holder's process id, as the file says; empty when it says nothing sensible.
std::string holder(File& file) {
    Bytes text(20);
    const auto got = file.pread(text, 0);
    long pid = 0;
    if (!got) return {};
    const std::string_view digits = as_text(ByteSpan(text).first(*got));
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
    return parsed.ec == std::errc() && pid > 0 ? std::to_string(pid) : std::string();
}

}  // namespace

Result<StateLock> StateLock::acquire(Files& files, const std::string& state_folder) {
    OSTAL_TRY(auto file, files.open(join_path(state_folder, "lock"), Files::Open::kReadWrite));
    if (::flock(file->descriptor(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return fail(errno_error(errno, "cannot lock " + state_folder));
        const std::string pid = holder(*file);
        return fail(Code::kConflict,
                    "state folder in use" + (pid.empty() ? pid : " by process " + pid) + ": " + state_folder);
    }
    OSTAL_TRYV(file->truncate(0));
    OSTAL_TRYV(file->pwrite(as_bytes(std::to_string(::getpid()) + "\n"), 0));
    return StateLock(std::move(file));
}

}  // namespace ostal::security
