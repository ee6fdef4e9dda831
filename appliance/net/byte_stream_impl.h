// ByteStream: what a connection needs of its transport. For the .cpp files of this folder.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"

namespace ostal::tls {
class Context;
}

namespace ostal::http {

namespace asio = boost::asio;

// All methods are called on the stream's strand. One read_some and one write may be under way at once, but
// neither beside handshake or shutdown. Every limit that passes ends in abort().
class ByteStream {
public:
    using Duration = std::chrono::milliseconds;
    virtual ~ByteStream() = default;
    virtual asio::awaitable<bool> handshake(Duration limit) = 0;
    // 0 when nothing more will come: the peer closed, half-closed or reset, or the stream was cut.
    virtual asio::awaitable<std::size_t> read_some(MutableByteSpan into) = 0;
    // True when all bytes were handed to the kernel within `limit`.
    virtual asio::awaitable<bool> write(std::string_view bytes, Duration limit) = 0;
    // Lets a read under way return 0; may have to be repeated.
    virtual void cancel_read() = 0;
    // Says goodbye and reads away at most `drain_bytes` of what the peer still sends, so that it gets to
    // read the last answer instead of a reset.
    virtual asio::awaitable<void> shutdown(Duration limit, std::uint64_t drain_bytes) = 0;
    // Drops the connection now; what is under way ends.
    virtual void abort() = 0;
    // True when a limit passed, or the kernel gave the peer up.
    virtual bool timed_out() const = 0;
};

// `socket`'s executor is the strand. Null when OpenSSL has no memory.
std::shared_ptr<ByteStream> make_tls_stream(asio::ip::tcp::socket socket, const tls::Context& context);

}  // namespace ostal::http
