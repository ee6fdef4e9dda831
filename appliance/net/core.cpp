#include "appliance/net/core_impl.h"

#include <array>

namespace ostal::http {

bool Core::enter(const std::string& cap_key) {
    const std::lock_guard lock(mutex_);
    if (open_ >= options.limits.connections) {
        ++counters.refused_by_total_cap;
        return false;
    }
    const auto found = per_address_.find(cap_key);
    if (found != per_address_.end() && found->second >= options.limits.connections_per_ip) {
        ++counters.refused_by_address_cap;
        return false;
    }
    ++per_address_[cap_key];
    ++open_;
    return true;
}

void Core::leave(const std::string& cap_key) {
    const std::lock_guard lock(mutex_);
    const auto found = per_address_.find(cap_key);
    if (found != per_address_.end() && --found->second == 0) per_address_.erase(found);
    if (--open_ == 0) empty_.notify_all();
}

void Core::add(std::uint64_t id, const std::shared_ptr<Connection>& connection) {
    const std::lock_guard lock(mutex_);
    connections_[id] = connection;
}

void Core::remove(std::uint64_t id, const std::string& cap_key) {
    {
        const std::lock_guard lock(mutex_);
        connections_.erase(id);
    }
    leave(cap_key);
}

std::vector<std::shared_ptr<Connection>> Core::connections() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<Connection>> out;
    for (const auto& [id, weak] : connections_) {
        if (auto connection = weak.lock()) out.push_back(std::move(connection));
    }
    return out;
}

std::size_t Core::open() const {
    const std::lock_guard lock(mutex_);
    return open_;
}

bool Core::wait_until_empty(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return empty_.wait_for(lock, limit, [&] { return open_ == 0; });
}

std::string Core::make_request_id() {
    std::array<std::uint8_t, 16> id{};
    random.fill(id);
    return "req_" + to_base32_lower(id);
}

}  // namespace ostal::http
