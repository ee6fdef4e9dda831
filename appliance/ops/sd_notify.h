// sd_notify(3) and the listen descriptors of sd_listen_fds(3), without libsystemd.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ostal {

// Sends to the datagram socket that the service manager named. Without one, send() does nothing.
class SystemdNotifier {
public:
    // `address`: the value of NOTIFY_SOCKET ("" when unset): a path, or "@name" in the abstract namespace.
    explicit SystemdNotifier(std::string address);
    ~SystemdNotifier();
    SystemdNotifier(const SystemdNotifier&) = delete;
    SystemdNotifier& operator=(const SystemdNotifier&) = delete;
    // E.g. "READY=1\nSTATUS=serving". Thread-safe. False when it could not be delivered.
    bool send(std::string_view state) const;
    bool active() const { return socket_ >= 0; }

private:
    std::string address_;
    int socket_ = -1;
};

struct PassedSocket {
    int descriptor = -1;
    std::uint16_t port = 0;
};

// The TCP sockets passed by the service manager (LISTEN_FDS, LISTEN_PID of this process), with their ports.
// Empty when none were passed. kInvalidArgument when one is no listening TCP socket.
Result<std::vector<PassedSocket>> passed_sockets(const char* listen_fds, const char* listen_pid);

}  // namespace ostal
