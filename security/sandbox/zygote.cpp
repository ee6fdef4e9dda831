#include "security/sandbox/zygote.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "security/sandbox/harden.h"

namespace ostal::security {
namespace {

constexpr rlim_t kWorkerSeconds = 600;
constexpr int kZygoteSocket = 3;  // the one descriptor beside 0, 1 and 2 (which are /dev/null)

Status send_message(int socket, const std::string& bytes, std::span<const int> descriptors) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(sizeof(int) * descriptors.size()));
    if (!descriptors.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
        std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
    }
    ssize_t sent = 0;
    do {
        sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return fail(errno_error(errno, "cannot send to the worker"));
    return {};
}

struct Message {
    std::string bytes;
    std::vector<int> descriptors;
    bool end = false;
};

// One message; `end` at EOF. The buffer is allocated once per call: workers are rare.
Result<Message> receive_message(int socket) {
    Message out;
    out.bytes.resize(Zygote::kMaxMessageBytes);
    iovec part{out.bytes.data(), out.bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(sizeof(int) * (Zygote::kMaxDescriptors + 1)));
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got = 0;
    do {
        got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return fail(errno_error(errno, "cannot receive"));
    out.end = got == 0;
    out.bytes.resize(static_cast<std::size_t>(got));
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        out.descriptors.resize(count);
        std::memcpy(out.descriptors.data(), CMSG_DATA(header), count * sizeof(int));
    }
    return out;
}

[[noreturn]] void worker_main(const WorkerJob& job, const Message& message) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (!restrict_worker_calls()) ::_exit(71);
    const std::span<const int> descriptors(message.descriptors);
    const std::string reply = job(message.bytes, descriptors.subspan(1));
    if (reply.size() > Zygote::kMaxMessageBytes) ::_exit(72);
    if (!send_message(descriptors[0], reply, {})) ::_exit(73);
    ::_exit(0);
}

[[noreturn]] void zygote_main(const WorkerJob& job, int socket, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(0);
    ::prctl(PR_SET_NAME, "ostald-zygote", 0, 0, 0);
    const int null = ::open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) ::dup2(null, fd);
    if (socket != kZygoteSocket) ::dup2(socket, kZygoteSocket);
    ::syscall(SYS_close_range, kZygoteSocket + 1, ~0U, 0);
    ::clearenv();
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    // A file made to keep a parser busy costs a bounded time.
    const rlimit processor_time{kWorkerSeconds, kWorkerSeconds};
    ::setrlimit(RLIMIT_CPU, &processor_time);
    ::signal(SIGCHLD, SIG_IGN);  // workers are reaped by the kernel; their end is seen on their sockets
    if (!restrict_zygote_calls()) ::_exit(70);
    for (;;) {
        const auto message = receive_message(kZygoteSocket);
        if (!message || message->end) ::_exit(0);
        if (message->descriptors.empty()) continue;
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::close(kZygoteSocket);
            worker_main(job, *message);
        }
        for (const int fd : message->descriptors) ::close(fd);
    }
}

}  // namespace

Result<Zygote> Zygote::start(WorkerJob job) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return fail(errno_error(errno, "cannot make the zygote's socket"));
    }
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) {
        ::close(pair[0]);
        ::close(pair[1]);
        return fail(errno_error(errno, "cannot fork the zygote"));
    }
    if (pid == 0) zygote_main(job, pair[1], parent);
    ::close(pair[1]);
    return Zygote(pair[0], pid);
}

Zygote::Zygote(Zygote&& other) noexcept : socket_(other.socket_), pid_(other.pid_) {
    other.socket_ = -1;
    other.pid_ = -1;
}

Zygote::~Zygote() {
    if (socket_ < 0) return;
    ::close(socket_);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
}

Result<std::string> Zygote::run(const std::string& request, std::span<const int> descriptors, std::int64_t limit_us) {
    if (request.size() > kMaxMessageBytes || descriptors.size() > kMaxDescriptors) {
        return fail(Code::kTooLarge, "a job of at most " + std::to_string(kMaxMessageBytes) + " bytes and " +
                                         std::to_string(kMaxDescriptors) + " files can be checked at once");
    }
    if (request.empty()) return fail(Code::kInvalidArgument, "an empty job");
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return fail(errno_error(errno, "cannot make a worker's socket"));
    }
    std::vector<int> passed{pair[1]};
    passed.insert(passed.end(), descriptors.begin(), descriptors.end());
    Status sent;
    {
        const std::lock_guard lock(mutex_);
        sent = send_message(socket_, request, passed);
    }
    ::close(pair[1]);
    if (!sent) {
        ::close(pair[0]);
        return fail(Code::kUnavailable, "the process that checks imports is gone; restart the daemon to import");
    }
    pollfd waiting{pair[0], POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(limit_us / 1000));
    Result<std::string> out = fail(Code::kDeadlineExceeded, "the check did not end in time");
    if (ready > 0) {
        auto reply = receive_message(pair[0]);
        if (!reply || reply->end) {
            out = fail(Code::kIntegrity, "the worker that checked these files died on them: they are refused");
        } else {
            out = std::move(reply->bytes);
        }
    }
    ::close(pair[0]);
    return out;
}

}  // namespace ostal::security
