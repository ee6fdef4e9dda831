#include <openssl/ssl.h>

#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "appliance/net/byte_stream_impl.h"
#include "appliance/tls/context.h"

namespace ostal::http {
namespace {

using boost::system::error_code;
using asio::ip::tcp;

class TlsStream final : public ByteStream, public std::enable_shared_from_this<TlsStream> {
public:
    // Takes over `ssl`.
    TlsStream(tcp::socket socket, SSL* ssl) : stream_(std::move(socket), ssl), guard_(stream_.get_executor()) {}

    asio::awaitable<bool> handshake(Duration limit) override {
        arm(limit);
        error_code error;
        co_await stream_.async_handshake(asio::ssl::stream_base::server,
                                         asio::redirect_error(asio::use_awaitable, error));
        disarm();
        co_return !error;
    }

    asio::awaitable<std::size_t> read_some(MutableByteSpan into) override {
        error_code error;
        const asio::mutable_buffer buffer(into.data(), into.size());
        const std::size_t size =
            co_await stream_.async_read_some(buffer, asio::redirect_error(asio::use_awaitable, error));
        note(error);
        co_return error ? 0 : size;
    }

    asio::awaitable<bool> write(std::string_view bytes, Duration limit) override {
        arm(limit);
        error_code error;
        const asio::const_buffer buffer(bytes.data(), bytes.size());
        co_await asio::async_write(stream_, buffer, asio::redirect_error(asio::use_awaitable, error));
        disarm();
        note(error);
        co_return !error;
    }

    void cancel_read() override {
        error_code ignored;
        stream_.next_layer().cancel(ignored);
    }

    asio::awaitable<void> shutdown(Duration limit, std::uint64_t drain_bytes) override {
        arm(limit);
        error_code error;
        co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
        error_code ignored;
        tcp::socket& socket = stream_.next_layer();
        if (error) socket.shutdown(tcp::socket::shutdown_send, ignored);
        // A peer that still sends has not read our close_notify: drain it below TLS.
        std::array<char, 4096> scrap{};
        const asio::mutable_buffer buffer(scrap.data(), scrap.size());
        std::uint64_t drained = 0;
        bool is_over = !error;
        while (!is_over && drained < drain_bytes) {
            const std::size_t size =
                co_await socket.async_read_some(buffer, asio::redirect_error(asio::use_awaitable, error));
            drained += size;
            is_over = static_cast<bool>(error);
        }
        disarm();
        socket.close(ignored);
    }

    void abort() override {
        error_code ignored;
        tcp::socket& socket = stream_.next_layer();
        if (!socket.is_open()) return;
        socket.set_option(asio::socket_base::linger(true, 0), ignored);  // drop what the kernel still holds
        socket.close(ignored);
    }

    bool timed_out() const override { return timed_out_; }

private:
    // The kernel gave the peer up (TCP_USER_TIMEOUT, the write limit): it counts from the moment when the peer took no
    // more bytes, which is before its own buffer was full and a write of ours had to wait.
    void note(const error_code& error) {
        if (error == asio::error::timed_out) timed_out_ = true;
    }
    void arm(Duration limit) {
        const std::uint64_t generation = ++generation_;
        guard_.expires_after(limit);
        guard_.async_wait([weak = weak_from_this(), generation](const error_code& error) {
            const auto self = weak.lock();
            if (error || !self || self->generation_ != generation) return;
            self->timed_out_ = true;
            self->abort();
        });
    }
    // A guard that has already fired and waits for its turn finds another generation.
    void disarm() {
        ++generation_;
        guard_.cancel();
    }

    asio::ssl::stream<tcp::socket> stream_;
    asio::steady_timer guard_;
    std::uint64_t generation_ = 0;
    bool timed_out_ = false;
};

}  // namespace

std::shared_ptr<ByteStream> make_tls_stream(tcp::socket socket, const tls::Context& context) {
    SSL* ssl = SSL_new(context.native());  // holds the context from here on
    if (ssl == nullptr) return nullptr;
    return std::make_shared<TlsStream>(std::move(socket), ssl);
}

}  // namespace ostal::http
