#include "appliance/net/http/router.h"

#include <gtest/gtest.h>

namespace ostal::http {
namespace {

Router make_router() {
    auto router = Router::make({
        Route(Method::kGet, "/livez", Public{}, 0, 1),
        Route(Method::kGet, "/v1/models", Permission("model:list"), 0, 2),
        Route(Method::kGet, "/v1/models/{id}", Permission("model:list"), 0, 3),
        Route(Method::kDelete, "/v1/models/{id}", Permission("model:retire"), 0, 4),
        Route(Method::kPost, "/v1/models/import", Permission("model:import"), 100, 5),
        Route(Method::kPost, "/v1/jobs/{job}/tasks/{task}", SignedIn{}, 7, 6),
        Route(Method::kGet, "/", Public{}, 0, 7),
        Route(Method::kGet, "/admin/{page...}", Public{}, 0, 8),
        Route(Method::kGet, "/admin/api", Public{}, 0, 9),
    });
    EXPECT_TRUE(router.has_value());
    return std::move(*router);
}

TEST(Router, FindsLiteralsAndParameters) {
    const Router router = make_router();
    const Match match = router.match(Method::kPost, "/v1/jobs/a b/tasks/7");
    ASSERT_EQ(match.kind, Match::Kind::kFound);
    EXPECT_EQ(match.route->handler, 6U);
    EXPECT_EQ(match.route->body_limit_bytes, 7U);
    EXPECT_TRUE(std::holds_alternative<SignedIn>(match.route->access));
    ASSERT_EQ(match.params.size(), 2U);
    EXPECT_EQ(match.params[0], (std::pair<std::string, std::string>("job", "a b")));
    EXPECT_EQ(match.params[1], (std::pair<std::string, std::string>("task", "7")));
    EXPECT_EQ(router.match(Method::kGet, "/").route->handler, 7U);
}

TEST(Router, LiteralsWinOverParametersAndParametersOverTails) {
    const Router router = make_router();
    EXPECT_EQ(router.match(Method::kPost, "/v1/models/import").route->handler, 5U);
    EXPECT_EQ(router.match(Method::kGet, "/v1/models/other").route->handler, 3U);
    EXPECT_EQ(router.match(Method::kGet, "/admin/api").route->handler, 9U);
    const Match tail = router.match(Method::kGet, "/admin/users/7/edit");
    EXPECT_EQ(tail.route->handler, 8U);
    ASSERT_EQ(tail.params.size(), 1U);
    EXPECT_EQ(tail.params[0].second, "users/7/edit");
}

TEST(Router, AnotherSpellingIsAnotherPath) {
    const Router router = make_router();
    for (const char* path : {"/v1/models/", "//v1/models", "/v1//models", "/V1/models", "/v1/models/a/b", "/v1",
                             "", "v1/models", "/admin/", "/admin//x", "/livez/"}) {
        EXPECT_EQ(router.match(Method::kGet, path).kind, Match::Kind::kNoPath) << path;
    }
}

TEST(Router, KnownPathOtherMethodAndUnknownMethod) {
    const Router router = make_router();
    const Match other = router.match(Method::kPost, "/v1/models/x");
    EXPECT_EQ(other.kind, Match::Kind::kOtherMethod);
    EXPECT_EQ(other.allow, "DELETE, GET, HEAD");
    EXPECT_EQ(router.match(Method::kOther, "/v1/models/x").kind, Match::Kind::kUnknownMethod);
    EXPECT_EQ(router.match(Method::kOther, "/nowhere").kind, Match::Kind::kNoPath);
    EXPECT_EQ(router.match(Method::kOptions, "/livez").kind, Match::Kind::kOtherMethod);
}

TEST(Router, HeadFindsGet) {
    const Router router = make_router();
    EXPECT_EQ(router.match(Method::kHead, "/livez").route->handler, 1U);
    EXPECT_EQ(router.match(Method::kHead, "/v1/models/import").kind, Match::Kind::kOtherMethod);
}

TEST(Router, RefusesBrokenTables) {
    const auto refused = [](Route route) {
        auto router = Router::make({Route(Method::kGet, "/a/{x}", Public{}, 0, 1), std::move(route)});
        return !router && router.error().code() == Code::kInvalidArgument;
    };
    EXPECT_TRUE(refused(Route(Method::kGet, "/a/{other}", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "no-slash", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b/{x}/{x}", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b/{}", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b/pre{x}", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b/{x...}/c", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kHead, "/b", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kOther, "/b", Public{}, 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b", Permission(""), 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b", Permission("model"), 0, 2)));
    EXPECT_TRUE(refused(Route(Method::kGet, "/b", Permission("model:List"), 0, 2)));
    EXPECT_FALSE(refused(Route(Method::kPost, "/a/{other}", Permission("model:list"), 0, 2)));
}

}  // namespace
}  // namespace ostal::http
