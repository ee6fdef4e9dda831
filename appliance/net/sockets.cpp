#include "appliance/net/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

namespace ostal::http {
namespace {

constexpr int kBacklog = 1024;  // the kernel cuts it to net.core.somaxconn
constexpr rlim_t kOwnDescriptors = 512;

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

std::optional<SocketAddress> socket_address(const ListenAddress& listen) {
    SocketAddress out;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    if (inet_pton(AF_INET, listen.address.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(listen.port);
        out.size = sizeof(sockaddr_in);
        return out;
    }
    if (inet_pton(AF_INET6, listen.address.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(listen.port);
        out.size = sizeof(sockaddr_in6);
        return out;
    }
    return std::nullopt;
}

// The address a socket is bound to.
Result<ListenAddress> local_address(int descriptor) {
    SocketAddress bound;
    bound.size = sizeof bound.storage;
    if (::getsockname(descriptor, bound.get(), &bound.size) != 0) {
        return fail(errno_error(errno, "reading a socket's address"));
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&bound.storage);
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&bound.storage);
    if (bound.storage.ss_family == AF_INET) {
        ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
        return ListenAddress{text.data(), ntohs(v4->sin_port)};
    }
    if (bound.storage.ss_family == AF_INET6) {
        ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
        return ListenAddress{text.data(), ntohs(v6->sin6_port)};
    }
    return fail(Code::kInvalidArgument, "the socket is not one of TCP over IPv4 or IPv6");
}

Error bind_error(int number, const std::string& where, std::uint16_t port) {
    if (number == EADDRINUSE) {
        return {Code::kConflict, "cannot listen on " + where + ": the port is in use. Find its owner with `ss -ltnp 'sport = :" +
                                     std::to_string(port) + "'`, stop it, or choose another port"};
    }
    if (number == EACCES) {
        return {Code::kPermissionDenied, "cannot listen on " + where + ": ports below 1024 are for privileged "
                                         "programs. Use socket activation (ostald.socket) or a higher port"};
    }
    if (number == EADDRNOTAVAIL) {
        return {Code::kInvalidArgument, "cannot listen on " + where + ": no interface of this machine has that "
                                        "address (`ip addr` lists them)"};
    }
    return errno_error(number, "listening on " + where);
}

std::string to_text(const ListenAddress& listen) {
    const bool v6 = listen.address.find(':') != std::string::npos;
    return (v6 ? "[" + listen.address + "]" : listen.address) + ":" + std::to_string(listen.port);
}

}  // namespace

ListenSocket::ListenSocket(ListenSocket&& other) noexcept
    : descriptor_(other.release()), address_(std::move(other.address_)), port_(other.port_) {}

ListenSocket& ListenSocket::operator=(ListenSocket&& other) noexcept {
    if (this == &other) return *this;
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = other.release();
    address_ = std::move(other.address_);
    port_ = other.port_;
    return *this;
}

ListenSocket::~ListenSocket() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

int ListenSocket::release() { return std::exchange(descriptor_, -1); }

Result<ListenAddress> parse_listen_address(std::string_view text) {
    const auto bad = [&] {
        return fail(Code::kInvalidArgument, "\"" + std::string(text) +
                                                "\" is no ADDRESS:PORT; examples: 127.0.0.1:8443, [::1]:8443");
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad();
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (bracketed != (host.find(':') != std::string_view::npos)) return bad();
    ListenAddress out;
    out.address = std::string(host);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (port.empty() || error != std::errc() || end != port.data() + port.size()) return bad();
    if (!socket_address(out)) return bad();
    return out;
}

Result<ListenSocket> bind_listener(const ListenAddress& listen) {
    const std::string where = to_text(listen);
    const auto address = socket_address(listen);
    if (!address) return fail(Code::kInvalidArgument, "\"" + listen.address + "\" is no IP address");
    const int descriptor = ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return fail(errno_error(errno, "making a socket for " + where));
    ListenSocket socket(descriptor, listen.address, listen.port);
    const int on = 1;
    // Restarting must not wait for old connections to leave TIME_WAIT; another listener is still an error.
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->storage.ss_family == AF_INET6) ::setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::bind(descriptor, address->get(), address->size) != 0 || ::listen(descriptor, kBacklog) != 0) {
        return fail(bind_error(errno, where, listen.port));
    }
    OSTAL_TRY(const ListenAddress bound, local_address(descriptor));
    return ListenSocket(socket.release(), bound.address, bound.port);
}

Result<ListenSocket> adopt_listener(int descriptor) {
    int value = 0;
    socklen_t size = sizeof value;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &value, &size) != 0) {
        return fail(Code::kInvalidArgument, "descriptor " + std::to_string(descriptor) + " is no socket");
    }
    int listening = 0;
    size = sizeof listening;
    ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
    if (value != SOCK_STREAM || listening == 0) {
        return fail(Code::kInvalidArgument,
                    "descriptor " + std::to_string(descriptor) + " is no listening TCP socket");
    }
    OSTAL_TRY(const ListenAddress bound, local_address(descriptor));
    return ListenSocket(descriptor, bound.address, bound.port);
}

Result<std::vector<ListenSocket>> match_listeners(const std::vector<ListenAddress>& configured,
                                                  std::vector<ListenSocket> passed) {
    std::vector<ListenSocket> out;
    for (const ListenAddress& listen : configured) {
        std::optional<ListenSocket> found;
        for (ListenSocket& socket : passed) {
            if (socket.descriptor() < 0 || socket.port() != listen.port) continue;
            if (found) {
                return fail(Code::kConflict, "two sockets with port " + std::to_string(listen.port) +
                                                 " were passed: give the socket unit one ListenStream= a port");
            }
            found = std::move(socket);
        }
        if (!found) {
            return fail(Code::kConflict, "no socket was passed for the listener at port " +
                                             std::to_string(listen.port) +
                                             ": make the socket unit's ListenStream= and the configuration's "
                                             "[[listener]] name the same ports, each once");
        }
        out.push_back(std::move(*found));
    }
    for (const ListenSocket& socket : passed) {
        if (socket.descriptor() < 0) continue;
        return fail(Code::kConflict, "a socket with port " + std::to_string(socket.port()) +
                                         " was passed, but no [[listener]] has that port");
    }
    return out;
}

std::size_t make_room_for_connections(std::size_t wanted) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
    const rlim_t needed = std::min<rlim_t>(wanted + kOwnDescriptors, limit.rlim_max);
    if (limit.rlim_cur < needed) {
        const rlimit raised{needed, limit.rlim_max};
        if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    const rlim_t own = std::min<rlim_t>(kOwnDescriptors, limit.rlim_cur / 4 * 3);
    return std::min<std::size_t>(wanted, limit.rlim_cur - own);
}

}  // namespace ostal::http
