#include "appliance/control/server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace ostal {
namespace {

// Under PrivateUsers every foreign uid reads as this one.
constexpr unsigned kOverflowUid = 65534;
constexpr int kSocketLimitSeconds = 30;

}  // namespace

Result<Descriptor> ControlServer::bind(const std::string& path) {
    if (path.size() > max_socket_path()) {
        return fail(Code::kInvalidArgument, "the path " + path + " is too long for a UNIX socket: it has " +
                                                std::to_string(path.size()) + " bytes, at most " +
                                                std::to_string(max_socket_path()) + " fit; choose a shorter folder");
    }
    if (Channel::connect(path)) return fail(Code::kConflict, "another daemon listens on " + path);
    ::unlink(path.c_str());
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) return fail(errno_error(errno, "cannot make the control socket"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const mode_t before = ::umask(0177);
    const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int error_number = errno;
    ::umask(before);
    if (bound != 0) return fail(errno_error(error_number, "cannot bind the control socket " + path));
    if (::listen(socket.get(), 16) != 0) return fail(errno_error(errno, "cannot listen on " + path));
    return socket;
}

ControlServer::ControlServer(Descriptor listener, std::string path, Serve serve, LogSink& log)
    : listener_(std::move(listener)), path_(std::move(path)), serve_(std::move(serve)), log_(log), pool_("ost-ctl", 2, 16, log) {
    int ends[2];
    CHECK_EQ(::pipe(ends), 0);
    stop_read_ = Descriptor(ends[0]);
    stop_write_ = Descriptor(ends[1]);
    thread_ = NamedThread("ost-ctl", [this] { accept_loop(); });
}

ControlServer::~ControlServer() {
    stop_write_.reset();
    thread_.join();
    pool_.stop();
    ::unlink(path_.c_str());
}

void ControlServer::accept_loop() {
    for (;;) {
        pollfd waiting[2] = {{listener_.get(), POLLIN, 0}, {stop_read_.get(), POLLIN, 0}};
        if (::poll(waiting, 2, -1) < 0) continue;
        if (waiting[1].revents != 0) return;
        Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (socket.get() < 0) continue;
        // A peer that connects and says nothing must not hold a thread for ever.
        const timeval limit{kSocketLimitSeconds, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        auto channel = std::make_shared<Channel>(std::move(socket));
        const auto uid = channel->peer_uid();
        if (!uid || *uid == kOverflowUid || (*uid != 0 && *uid != ::geteuid())) {
            (void)channel->send(json::Object{{"error", error_to_json(Error(Code::kPermissionDenied,
                                                                         "only root and the daemon's own user may use this socket"))}});
            continue;
        }
        if (!pool_.try_run([this, channel] { serve_(std::move(*channel)); })) {
            log_.warning("control connection refused: too many at once");
        }
    }
}

}  // namespace ostal
