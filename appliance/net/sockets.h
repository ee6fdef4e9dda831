// Listening sockets: bound here or passed by the service manager. No threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ostal::http {

// Owns one listening TCP descriptor.
class ListenSocket {
public:
    ListenSocket(int descriptor, std::string address, std::uint16_t port)
        : descriptor_(descriptor), address_(std::move(address)), port_(port) {}
    ListenSocket(ListenSocket&& other) noexcept;
    ListenSocket& operator=(ListenSocket&& other) noexcept;
    ~ListenSocket();

    const std::string& address() const { return address_; }
    std::uint16_t port() const { return port_; }
    int descriptor() const { return descriptor_; }
    // Gives the descriptor away.
    int release();

private:
    int descriptor_ = -1;
    std::string address_;
    std::uint16_t port_ = 0;
};

struct ListenAddress {
    std::string address;  // an IPv4 or IPv6 address, IPv6 without brackets; no names
    std::uint16_t port = 0;
};
// "127.0.0.1:8443", "[::1]:8443", "0.0.0.0:0". kInvalidArgument with an example otherwise.
Result<ListenAddress> parse_listen_address(std::string_view text);

// Binds and listens; port 0 takes a free one (port() tells which). kConflict when the port is in use,
// kPermissionDenied below 1024 without the right to, kInvalidArgument for an address that is not this
// machine's; the message says what to do.
Result<ListenSocket> bind_listener(const ListenAddress& address);

// Takes over a descriptor that is a listening TCP socket (ops/sd_notify.h finds passed ones); kInvalidArgument when it is something else (it
// stays open and the caller's then).
Result<ListenSocket> adopt_listener(int descriptor);

// Brings passed sockets into the order of the configured listeners, matching by port. kConflict names a
// configured port without a socket, a socket without a listener, or a port that occurs twice.
Result<std::vector<ListenSocket>> match_listeners(const std::vector<ListenAddress>& configured,
                                                  std::vector<ListenSocket> passed);

// Raises this process's limit of open files as far as `wanted` connections need and the hard limit allows, and
// says how many connections fit: what is left for files, databases, the audit log and imports (512 descriptors,
// three quarters of a small limit) is not for strangers to take. Call before the sandbox closes.
std::size_t make_room_for_connections(std::size_t wanted);

}  // namespace ostal::http
