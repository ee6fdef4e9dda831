// The HTTPS server: TLS sockets in, Requests out, Responses back.
//
// Every connection lives on one strand of the I/O threads ("ost-io"). A request passes three gates:
//   1. codec.h checks the header (syntax, framing, Host); a fault is answered and ends the connection.
//   2. Handler::admit() sees the header alone and decides: credentials (401), path (404), method (405, 501),
//      rate (429), how large a body may be. A refusal is answered before the body is read.
//   3. The body is read within the limit that admit() gave, then Handler::handle() answers the request.
// Nothing of Boost or OpenSSL is in this header.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "appliance/net/http/limits.h"
#include "appliance/net/http/message.h"
#include "appliance/net/sockets.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/result.h"

namespace ostal::tls {
class Context;
}

namespace ostal::http {

// What admit() decides on a request's header.
struct Admission {
    // Set: the answer, given now; the body is not read and the connection ends unless there is none.
    std::optional<Response> refusal;
    // The largest body that is read; larger is 413. 0: a request that brings a body at all is 413.
    std::uint64_t body_limit_bytes = 0;
    // Handed to handle() untouched: who asks, and which route it is.
    std::shared_ptr<void> context;
};
// Called exactly once, from any thread; a drop without a call answers 500.
using Admit = std::function<void(Admission)>;

// What the appliance implements. Both methods are called on an I/O thread and must not block: they push the
// work to a queue of their own (and answer 503 when it is full). A throw answers 500. Nobody else touches
// `request` between the call and the answer.
class Handler {
public:
    virtual ~Handler() = default;
    // Phase 1: the header alone (request->body is empty). May fill path_params.
    virtual void admit(std::shared_ptr<Request> request, Admit done) = 0;
    // Phase 2: the same object with its whole body, and the context that admit() gave.
    virtual void handle(std::shared_ptr<Request> request, std::shared_ptr<void> context, Respond respond) = 0;
};

struct ServerOptions {
    Limits limits;
    int io_threads = 1;
    // Names (and IP addresses in their text form, IPv6 without brackets) by which clients may address this
    // machine, compared without case and without the port. A request for another Host is 421 (DNS rebinding).
    std::vector<std::string> allowed_hosts;
    // The body of errors that this layer answers itself.
    ErrorBody error_body = json_error;
    // Strict-Transport-Security on every answer.
    bool hsts = true;
};

// Counters since the start and gauges, for the metrics page (names there: README.md).
struct ServerStats {
    std::uint64_t accepted = 0;
    std::uint64_t accept_errors = 0;           // out of descriptors or memory: the listener tries again
    std::uint64_t refused_by_address_cap = 0;  // closed at once: too many of one address
    std::uint64_t refused_by_total_cap = 0;    // closed at once: too many in all
    std::uint64_t handshake_failures = 0;      // those that took too long among them
    std::uint64_t requests = 0;                // headers that passed the codec
    std::uint64_t faults = 0;                  // requests refused by this layer: 400, 408, 413, 421, 431 ...
    std::uint64_t clients_gone = 0;            // clients that left while an answer was due
    // Waits that reached their limit (http/limits.h), by what was waited for.
    std::uint64_t handshake_timeouts = 0;
    std::uint64_t header_timeouts = 0;
    std::uint64_t body_timeouts = 0;
    std::uint64_t idle_timeouts = 0;
    std::uint64_t write_timeouts = 0;
    std::uint64_t shutdown_timeouts = 0;
    std::uint64_t open_connections = 0;
    std::uint64_t open_streams = 0;
};

class Server {
public:
    // Everything passed by reference outlives the server. `sockets` come from sockets.h, bound or inherited.
    static Result<std::unique_ptr<Server>> make(ServerOptions options, std::vector<ListenSocket> sockets,
                                                std::shared_ptr<const tls::Context> tls, Handler& handler,
                                                Clock& clock, RandomSource& random, LogSink& log);
    // stop() with no drain time.
    ~Server();

    // Starts the I/O threads and accepts. Once.
    Status start();
    // New connections use `tls` from now on, open ones keep theirs. Thread-safe.
    void set_tls(std::shared_ptr<const tls::Context> tls);
    // Stops accepting, closes idle connections, lets requests in progress end within `drain`, cuts the rest,
    // joins the threads. Blocks; may be called more than once. Not from an I/O thread.
    void stop(std::chrono::milliseconds drain);
    ServerStats stats() const;
    // The real port of each socket, in the order they were given.
    std::vector<std::uint16_t> ports() const;

private:
    class Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace ostal::http
