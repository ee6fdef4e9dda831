#include "appliance/ops/sd_notify.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace ostal {
namespace {

constexpr int kFirstPassedDescriptor = 3;  // SD_LISTEN_FDS_START

bool parse_number(const char* text, long& out) {
    if (text == nullptr) return false;
    const char* end = text + std::strlen(text);
    const auto result = std::from_chars(text, end, out);
    return result.ec == std::errc() && result.ptr == end;
}

}  // namespace

SystemdNotifier::SystemdNotifier(std::string address) : address_(std::move(address)) {
    if (address_.empty() || address_.size() >= sizeof(sockaddr_un::sun_path)) return;
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

SystemdNotifier::~SystemdNotifier() {
    if (socket_ >= 0) ::close(socket_);
}

bool SystemdNotifier::send(std::string_view state) const {
    if (socket_ < 0) return false;
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address_.data(), address_.size());
    if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
    const ssize_t sent = ::sendto(socket_, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                  reinterpret_cast<const sockaddr*>(&to), length);
    return sent == static_cast<ssize_t>(state.size());
}

Result<std::vector<PassedSocket>> passed_sockets(const char* listen_fds, const char* listen_pid) {
    long count = 0;
    long pid = 0;
    if (!parse_number(listen_fds, count) || !parse_number(listen_pid, pid) || pid != ::getpid()) {
        return std::vector<PassedSocket>{};
    }
    std::vector<PassedSocket> out;
    for (int fd = kFirstPassedDescriptor; fd < kFirstPassedDescriptor + count; ++fd) {
        int listening = 0;
        socklen_t size = sizeof listening;
        if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
            return fail(Code::kInvalidArgument, "passed descriptor " + std::to_string(fd) + " is no listening socket");
        }
        sockaddr_storage address{};
        socklen_t length = sizeof address;
        if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
            return fail(errno_error(errno, "cannot ask the address of a passed socket"));
        }
        std::uint16_t port = 0;
        if (address.ss_family == AF_INET) port = ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
        if (address.ss_family == AF_INET6) port = ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
        if (port == 0) {
            return fail(Code::kInvalidArgument, "passed descriptor " + std::to_string(fd) + " is no TCP socket");
        }
        out.push_back({fd, port});
    }
    return out;
}

}  // namespace ostal
