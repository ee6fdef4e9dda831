#include "appliance/api/routes.h"

#include <gtest/gtest.h>

#include <set>

#include "security/access/roles.h"

namespace ostal::api {
namespace {

// The only paths without a credential (contracts: listeners, routes, streams). A route that is added without a
// permission fails here.
const std::set<std::string> kPublicPaths = {"/livez", "/readyz", "/health", "/api/v1/seal", "/api/v1/unseal"};

TEST(Routes, EachNamesAPermissionThatExistsOrIsOneOfThePublicFew) {
    ASSERT_FALSE(route_specs().empty());
    for (const RouteSpec& spec : route_specs()) {
        if (const auto* permission = std::get_if<http::Permission>(&spec.access)) {
            EXPECT_TRUE(security::permission_from_name(permission->name)) << spec.pattern << " " << permission->name;
        } else {
            EXPECT_TRUE(kPublicPaths.contains(spec.pattern)) << spec.pattern << " has no permission";
        }
    }
}

TEST(Routes, TheTableMakesARouter) {
    std::vector<http::Route> routes;
    for (const RouteSpec& spec : route_specs()) {
        routes.emplace_back(spec.method, spec.pattern, spec.access, spec.body_limit_bytes, routes.size());
    }
    EXPECT_TRUE(http::Router::make(std::move(routes)));
}

}  // namespace
}  // namespace ostal::api
