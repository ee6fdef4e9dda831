// Reply: one answer on its way from the handler to the connection. For the .cpp files of this folder.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "appliance/net/connection_impl.h"

namespace ostal::http {

// The first call counts; a Reply that is destroyed without one tells the connection of the loss. Thread-safe.
template <typename T>
class Reply {
public:
    Reply(std::shared_ptr<Inbox> inbox, std::uint64_t exchange) : inbox_(std::move(inbox)), exchange_(exchange) {}
    ~Reply() { settle(std::nullopt); }
    Reply(const Reply&) = delete;
    Reply& operator=(const Reply&) = delete;

    void settle(std::optional<T> value) {
        if (is_settled_.exchange(true)) return;
        const auto shared = std::make_shared<std::optional<T>>(std::move(value));
        inbox_->post([shared, exchange = exchange_](Connection& connection) {
            connection.settle(exchange, std::move(*shared));
        });
    }

private:
    const std::shared_ptr<Inbox> inbox_;
    const std::uint64_t exchange_;
    std::atomic<bool> is_settled_{false};
};

}  // namespace ostal::http
