// Event: how a coroutine waits for anything that happens on its strand. For the .cpp files of this folder.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>

namespace ostal::http {

namespace asio = boost::asio;
using SteadyTime = std::chrono::steady_clock::time_point;

// One waiter. Check, wait and notify all run on the same strand, so no wake-up is lost; the waiter checks its
// condition again after every wake-up.
class Event {
public:
    explicit Event(const asio::any_io_executor& strand) : timer_(strand) {}

    void notify() {
        is_set_ = true;
        timer_.cancel();
    }
    // True when notified (before or during the wait), false at the deadline.
    asio::awaitable<bool> wait_until(SteadyTime deadline) {
        if (!is_set_) {
            timer_.expires_at(deadline);
            boost::system::error_code ignored;
            co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        }
        const bool was_set = is_set_;
        is_set_ = false;
        co_return was_set;
    }

private:
    asio::steady_timer timer_;
    bool is_set_ = false;
};

}  // namespace ostal::http
