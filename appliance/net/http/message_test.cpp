#include "appliance/net/http/message.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace ostal::http {
namespace {

TEST(Message, AHeaderThatOccursTwiceHasNoValue) {
    Request request;
    request.headers = {{"accept", "a"}, {"cookie", "1"}, {"cookie", "2"}};
    EXPECT_EQ(request.header("accept"), "a");
    EXPECT_FALSE(request.header("cookie"));
    EXPECT_FALSE(request.header("missing"));
}

TEST(Message, DefaultErrorCarriesBothShapes) {
    const Response response = json_error(413, "too_large", "a \"big\" one", "req_x");
    const auto body = json::parse(response.body);
    ASSERT_TRUE(body.has_value());
    EXPECT_EQ(body->find("object")->as_string(), "error");
    EXPECT_EQ(body->find("message")->as_string(), "a \"big\" one");
    EXPECT_EQ(body->find("error")->find("message")->as_string(), "a \"big\" one");
    EXPECT_EQ(body->find("error")->find("code")->as_string(), "too_large");
    EXPECT_EQ(body->find("type")->as_string(), "invalid_request_error");
    EXPECT_TRUE(body->find("param")->is_null());
}

TEST(Cancellation, CancelCallsBackOnceAndLateComersAtOnce) {
    Cancellation cancellation;
    int calls = 0;
    cancellation.on_cancel([&] { ++calls; });
    EXPECT_FALSE(cancellation.cancelled());
    cancellation.cancel();
    cancellation.cancel();
    cancellation.finish();
    EXPECT_TRUE(cancellation.cancelled());
    EXPECT_EQ(calls, 1);
    cancellation.on_cancel([&] { ++calls; });
    EXPECT_EQ(calls, 2);
}

TEST(Cancellation, FinishDropsCallbacks) {
    Cancellation cancellation;
    const auto held = std::make_shared<int>(0);
    cancellation.on_cancel([held] { ++*held; });
    EXPECT_EQ(held.use_count(), 2);
    cancellation.finish();
    EXPECT_EQ(held.use_count(), 1);
    cancellation.cancel();
    cancellation.on_cancel([held] { ++*held; });
    EXPECT_EQ(*held, 0);
    EXPECT_FALSE(cancellation.cancelled());
}

}  // namespace
}  // namespace ostal::http
