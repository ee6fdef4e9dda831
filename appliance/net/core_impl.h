// What all connections of one server share. For the .cpp files of this folder.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "appliance/net/http/target.h"
#include "appliance/net/server.h"

namespace ostal::http {

class Connection;

struct Counters {
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> accept_errors{0};
    std::atomic<std::uint64_t> refused_by_address_cap{0};
    std::atomic<std::uint64_t> refused_by_total_cap{0};
    std::atomic<std::uint64_t> handshake_failures{0};
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> faults{0};
    std::atomic<std::uint64_t> clients_gone{0};
    std::atomic<std::uint64_t> handshake_timeouts{0};
    std::atomic<std::uint64_t> header_timeouts{0};
    std::atomic<std::uint64_t> body_timeouts{0};
    std::atomic<std::uint64_t> idle_timeouts{0};
    std::atomic<std::uint64_t> write_timeouts{0};
    std::atomic<std::uint64_t> shutdown_timeouts{0};
    std::atomic<std::uint64_t> open_streams{0};
};

// Thread-safe. Outlives every connection.
class Core {
public:
    Core(ServerOptions server_options, std::shared_ptr<const tls::Context> tls, Handler& the_handler,
         Clock& the_clock, RandomSource& the_random, LogSink& the_log)
        : options(std::move(server_options)),
          hosts(options.allowed_hosts),
          handler(the_handler),
          clock(the_clock),
          random(the_random),
          log(the_log),
          tls_(std::move(tls)) {}

    const ServerOptions options;
    const HostPolicy hosts;
    Handler& handler;
    Clock& clock;
    RandomSource& random;
    LogSink& log;
    Counters counters;

    std::shared_ptr<const tls::Context> tls() const {
        const std::lock_guard lock(mutex_);
        return tls_;
    }
    void set_tls(std::shared_ptr<const tls::Context> tls) {
        const std::lock_guard lock(mutex_);
        tls_.swap(tls);
    }

    // One place among the connections, or false (and counted) when `cap_key` (an address) or all have too many.
    bool enter(const std::string& cap_key);
    void leave(const std::string& cap_key);
    void add(std::uint64_t id, const std::shared_ptr<Connection>& connection);
    void remove(std::uint64_t id, const std::string& cap_key);
    std::uint64_t next_id() { return ++last_id_; }

    std::vector<std::shared_ptr<Connection>> connections() const;
    std::size_t open() const;
    // True when no connection is left within `limit`.
    bool wait_until_empty(std::chrono::milliseconds limit);
    bool draining() const { return draining_.load(); }
    void set_draining() { draining_ = true; }

    // req_ and 26 characters: 128 random bits.
    std::string make_request_id();

private:
    mutable std::mutex mutex_;
    std::condition_variable empty_;
    std::shared_ptr<const tls::Context> tls_;
    std::unordered_map<std::uint64_t, std::weak_ptr<Connection>> connections_;
    std::map<std::string, std::size_t> per_address_;
    std::size_t open_ = 0;
    std::atomic<std::uint64_t> last_id_{0};
    std::atomic<bool> draining_{false};
};

}  // namespace ostal::http
