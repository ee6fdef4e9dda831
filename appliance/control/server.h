// The control socket: who connects is known by SO_PEERCRED, what he may do by operations.h.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "appliance/control/channel.h"
#include "appliance/core/work_pool.h"
#include "base/log.h"
#include "base/thread.h"

namespace ostal {

class ControlServer {
public:
    // Serves one connection; runs on a control thread and may block.
    using Serve = std::function<void(Channel channel)>;

    // Binds `path` (0600; a socket that nobody listens on is replaced). kConflict when somebody does; kInvalidArgument
    // when the path is too long.
    static Result<Descriptor> bind(const std::string& path);

    // Starts the threads `ost-ctl` (accepts) and `ost-ctl-0`, `-1` (serve).
    ControlServer(Descriptor listener, std::string path, Serve serve, LogSink& log);
    // Stops accepting, lets running calls end, removes the socket.
    ~ControlServer();

private:
    void accept_loop();
    Descriptor listener_;
    const std::string path_;
    const Serve serve_;
    LogSink& log_;
    Descriptor stop_read_;
    Descriptor stop_write_;
    WorkPool pool_;
    NamedThread thread_;
};

}  // namespace ostal
