#include "appliance/net/listener_impl.h"

#include <netinet/tcp.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "appliance/net/connection_impl.h"

namespace ostal::http {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kPauseAfterError{100};
constexpr std::chrono::seconds kBetweenWarnings{60};

tcp protocol_of(const ListenSocket& socket) {
    return socket.address().find(':') == std::string::npos ? tcp::v4() : tcp::v6();
}

asio::ip::address plain_address(const tcp::endpoint& endpoint) {
    const asio::ip::address address = endpoint.address();
    if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
}

// One home or office has a whole IPv6 /64: it counts as one client.
std::string cap_key(const asio::ip::address& address) {
    if (address.is_v4()) return address.to_string();
    asio::ip::address_v6::bytes_type bytes = address.to_v6().to_bytes();
    std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
    return asio::ip::address_v6(bytes).to_string() + "/64";
}

// A peer that vanished without a word (power, cable) is noticed by the kernel: while bytes are under way
// after the write limit, while none are by keep-alive probes after about a minute.
void set_options(tcp::socket& socket, const Limits& limits) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    if (limits.send_buffer_bytes > 0) {
        socket.set_option(asio::socket_base::send_buffer_size(limits.send_buffer_bytes), ignored);
    }
    const auto set = [&](int name, int value) {
        ::setsockopt(socket.native_handle(), IPPROTO_TCP, name, &value, sizeof value);
    };
    set(TCP_USER_TIMEOUT, static_cast<int>(limits.write.count()));
    set(TCP_KEEPIDLE, 30);
    set(TCP_KEEPINTVL, 10);
    set(TCP_KEEPCNT, 3);
}

}  // namespace

Listener::Listener(asio::io_context& io, Core& core, ListenSocket socket, std::size_t index)
    : io_(io), core_(core), index_(index), strand_(asio::make_strand(io)), acceptor_(strand_), pause_(strand_) {
    const tcp protocol = protocol_of(socket);
    acceptor_.assign(protocol, socket.release());
}

void Listener::start() {
    asio::co_spawn(strand_, run(shared_from_this()), [self = shared_from_this()](const std::exception_ptr& thrown) {
        if (!thrown) return;
        self->core_.log.error("accepting threw; the listener starts again");
        if (!self->is_stopped_) self->start();
    });
}

void Listener::stop() {
    asio::post(strand_, [self = shared_from_this()] {
        error_code ignored;
        self->is_stopped_ = true;
        self->acceptor_.close(ignored);
        self->pause_.cancel();
    });
}

asio::awaitable<void> Listener::run(std::shared_ptr<Listener> self) {
    while (!self->is_stopped_) {
        tcp::socket socket(asio::make_strand(self->io_));
        error_code error;
        co_await self->acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
        if (self->is_stopped_) break;
        if (!error) {
            self->welcome(std::move(socket));
            continue;
        }
        // Out of descriptors or memory; a peer that left the queue is no reason to wait, but costs little.
        self->note_error(error);
        self->pause_.expires_after(kPauseAfterError);
        co_await self->pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
}

// Clients can bring this about as often as they like: the log hears of it once a minute.
void Listener::note_error(const error_code& error) {
    ++core_.counters.accept_errors;
    const auto now = std::chrono::steady_clock::now();
    if (last_warning_ && now - *last_warning_ < kBetweenWarnings) return;
    last_warning_ = now;
    core_.log.warning("accepting connections fails", {{"reason", error.message()},
                                                      {"errors", std::to_string(core_.counters.accept_errors)}});
}

void Listener::welcome(tcp::socket socket) {
    error_code error;
    const tcp::endpoint endpoint = socket.remote_endpoint(error);
    if (error) return;  // already gone
    const asio::ip::address address = plain_address(endpoint);
    Connection::Peer peer;
    peer.ip = address.to_string();
    peer.cap_key = cap_key(address);
    peer.listener = index_;
    ++core_.counters.accepted;
    if (!core_.enter(peer.cap_key)) return;
    try {
        set_options(socket, core_.options.limits);
        const asio::any_io_executor strand = socket.get_executor();
        auto stream = make_tls_stream(std::move(socket), *core_.tls());
        if (stream) {
            std::make_shared<Connection>(core_, strand, std::move(stream), peer)->start();
            return;
        }
    } catch (const std::exception&) {
        core_.log.error("a connection could not be set up");
    }
    core_.leave(peer.cap_key);
}

}  // namespace ostal::http
