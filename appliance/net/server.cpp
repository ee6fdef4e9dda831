#include "appliance/net/server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "appliance/net/connection_impl.h"
#include "appliance/net/core_impl.h"
#include "appliance/net/listener_impl.h"
#include "base/check.h"
#include "base/thread.h"

namespace ostal::http {
namespace {

constexpr std::chrono::milliseconds kCutLimit{10'000};

}  // namespace

class Server::Impl {
public:
    Impl(ServerOptions options, std::vector<ListenSocket> sockets, std::shared_ptr<const tls::Context> tls,
         Handler& handler, Clock& clock, RandomSource& random, LogSink& log)
        : core_(std::move(options), std::move(tls), handler, clock, random, log),
          io_(core_.options.io_threads),
          work_(asio::make_work_guard(io_)) {
        for (ListenSocket& socket : sockets) {
            ports_.push_back(socket.port());
            listeners_.push_back(std::make_shared<Listener>(io_, core_, std::move(socket), listeners_.size()));
        }
    }

    void start() {
        for (const auto& listener : listeners_) listener->start();
        for (int i = 0; i < core_.options.io_threads; ++i) {
            threads_.emplace_back("ost-io", [this] { run(); });
        }
    }

    void stop(std::chrono::milliseconds drain) {
        if (threads_.empty()) return;
        core_.set_draining();
        for (const auto& listener : listeners_) listener->stop();
        for (const auto& connection : core_.connections()) connection->drain();
        if (!core_.wait_until_empty(drain)) cut_the_rest();
        work_.reset();
        for (NamedThread& thread : threads_) thread.join();
        threads_.clear();
    }

    Core core_;
    std::vector<std::uint16_t> ports_;

private:
    // A connection accepted in the last moment may not have been there when the others were told.
    void cut_the_rest() {
        constexpr std::chrono::milliseconds kRound{50};
        for (auto left = kCutLimit; left.count() > 0; left -= kRound) {
            for (const auto& connection : core_.connections()) connection->cut();
            if (core_.wait_until_empty(kRound)) return;
        }
        core_.log.error("connections did not end when they were cut");
        io_.stop();
    }

    // Nothing should throw out of a handler; what does must not end the daemon.
    void run() {
        for (;;) {
            try {
                io_.run();
                return;
            } catch (const std::exception& thrown) {
                core_.log.error("an I/O handler threw", {{"what", thrown.what()}});
            } catch (...) {
                core_.log.error("an I/O handler threw");
            }
        }
    }

    asio::io_context io_;
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::vector<std::shared_ptr<Listener>> listeners_;
    std::vector<NamedThread> threads_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { stop(std::chrono::milliseconds(0)); }

Result<std::unique_ptr<Server>> Server::make(ServerOptions options, std::vector<ListenSocket> sockets,
                                             std::shared_ptr<const tls::Context> tls, Handler& handler,
                                             Clock& clock, RandomSource& random, LogSink& log) {
    if (tls == nullptr) return fail(Code::kInvalidArgument, "the server has no TLS context");
    if (sockets.empty()) return fail(Code::kInvalidArgument, "the server has no socket to listen on");
    if (options.io_threads < 1) return fail(Code::kInvalidArgument, "the server needs an I/O thread");
    if (options.allowed_hosts.empty()) {
        return fail(Code::kInvalidArgument, "no Host name is allowed: name this machine in server.hosts");
    }
    try {
        return std::unique_ptr<Server>(new Server(std::make_unique<Impl>(
            std::move(options), std::move(sockets), std::move(tls), handler, clock, random, log)));
    } catch (const std::exception& thrown) {
        return fail(Code::kInternal, std::string("setting up the server: ") + thrown.what());
    }
}

Status Server::start() {
    try {
        impl_->start();
        return {};
    } catch (const std::exception& thrown) {
        return fail(Code::kInternal, std::string("starting the server: ") + thrown.what());
    }
}

void Server::set_tls(std::shared_ptr<const tls::Context> tls) {
    CHECK(tls != nullptr);
    impl_->core_.set_tls(std::move(tls));
}

void Server::stop(std::chrono::milliseconds drain) { impl_->stop(drain); }

ServerStats Server::stats() const {
    const Counters& counters = impl_->core_.counters;
    ServerStats stats;
    stats.accepted = counters.accepted;
    stats.accept_errors = counters.accept_errors;
    stats.refused_by_address_cap = counters.refused_by_address_cap;
    stats.refused_by_total_cap = counters.refused_by_total_cap;
    stats.handshake_failures = counters.handshake_failures;
    stats.requests = counters.requests;
    stats.faults = counters.faults;
    stats.clients_gone = counters.clients_gone;
    stats.handshake_timeouts = counters.handshake_timeouts;
    stats.header_timeouts = counters.header_timeouts;
    stats.body_timeouts = counters.body_timeouts;
    stats.idle_timeouts = counters.idle_timeouts;
    stats.write_timeouts = counters.write_timeouts;
    stats.shutdown_timeouts = counters.shutdown_timeouts;
    stats.open_connections = impl_->core_.open();
    stats.open_streams = counters.open_streams;
    return stats;
}

std::vector<std::uint16_t> Server::ports() const { return impl_->ports_; }

}  // namespace ostal::http
