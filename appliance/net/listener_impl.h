// Listener: accepts on one socket. For the .cpp files of this folder.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "appliance/net/core_impl.h"
#include "appliance/net/sockets.h"

namespace ostal::http {

namespace asio = boost::asio;

class Listener : public std::enable_shared_from_this<Listener> {
public:
    Listener(asio::io_context& io, Core& core, ListenSocket socket, std::size_t index);
    void start();
    // Thread-safe: closes the socket; open connections go on.
    void stop();

private:
    static asio::awaitable<void> run(std::shared_ptr<Listener> self);
    void welcome(asio::ip::tcp::socket socket);
    void note_error(const boost::system::error_code& error);

    asio::io_context& io_;
    Core& core_;
    const std::size_t index_;
    asio::strand<asio::io_context::executor_type> strand_;
    asio::ip::tcp::acceptor acceptor_;
    asio::steady_timer pause_;
    std::optional<std::chrono::steady_clock::time_point> last_warning_;
    bool is_stopped_ = false;
};

}  // namespace ostal::http
