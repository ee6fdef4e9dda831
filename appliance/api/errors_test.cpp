#include "appliance/api/errors.h"

#include <gtest/gtest.h>

namespace ostal::api {
namespace {

TEST(Errors, OneBodyForBothDialects) {
    const auto response = error_response(Error(Code::kUnprocessable, "temperature: too hot"), "temperature");
    EXPECT_EQ(response.status, 422);
    const auto body = json::parse(response.body).value();
    EXPECT_EQ(body.find("message")->as_string(), body.find("error")->find("message")->as_string());
    EXPECT_EQ(body.find("detail")->as_array()[0].find("loc")->as_array()[1].as_string(), "temperature");
}

TEST(Errors, InternalsNeverReachAClient) {
    for (const Code code : {Code::kInternal, Code::kIo, Code::kIntegrity, Code::kNoSpace, Code::kUnauthenticated}) {
        const auto response = error_response(Error(code, "/var/lib/ostal/db/ostal.db is broken").because("some_reason"));
        EXPECT_EQ(response.body.find("/var"), std::string::npos);
        EXPECT_EQ(response.body.find("some_reason"), std::string::npos);
    }
}

TEST(Errors, FieldsInsideOfListsAreLocatedAsSteps) {
    const auto response = error_response(Error(Code::kUnprocessable, "no"), "messages.2.role");
    const auto body = json::parse(response.body).value();
    EXPECT_EQ(json::to_string(*body.find("detail")->as_array()[0].find("loc")), R"(["body","messages",2,"role"])");
    EXPECT_EQ(body.find("param")->as_string(), "messages.2.role");
}

}  // namespace
}  // namespace ostal::api
