#include "security/sandbox/harden.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>

namespace ostal::security {

Status harden_process() {
    ::umask(077);
    const rlimit no_core{0, 0};
    if (::setrlimit(RLIMIT_CORE, &no_core) != 0) return fail(errno_error(errno, "cannot forbid core dumps"));
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(errno_error(errno, "cannot clear the dumpable flag"));
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(errno_error(errno, "cannot forbid new privileges"));
    return {};
}

}  // namespace ostal::security
