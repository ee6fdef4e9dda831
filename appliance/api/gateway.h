// The gate in front of every route: state, credentials, permission, in this order, before a body is read.
#pragma once

#include <atomic>
#include <memory>

#include "appliance/api/routes.h"
#include "appliance/core/work_pool.h"
#include "appliance/net/server.h"

namespace ostal::api {

class Gateway final : public http::Handler {
public:
    Gateway(Services& services, RouteTable routes, WorkPool& pool);
    // On I/O threads; both hand over to the work pool and answer 503 when it is full.
    void admit(std::shared_ptr<http::Request> request, http::Admit done) override;
    void handle(std::shared_ptr<http::Request> request, std::shared_ptr<void> context, http::Respond respond) override;

private:
    http::Admission decide(http::Request& request);
    Result<Caller> authenticate(const http::Request& request, Vault& vault);
    // A failed authentication: at most one record a minute, with the count, so that nobody can fill the disk.
    Status note_failed_credential(const http::Request& request);

    Services& services_;
    const RouteTable routes_;
    WorkPool& pool_;
    std::atomic<std::int64_t> failures_{0};
    std::atomic<std::int64_t> last_failure_record_us_{INT64_MIN / 2};
};

}  // namespace ostal::api
