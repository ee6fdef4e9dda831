#include "appliance/net/http/target.h"

#include <gtest/gtest.h>

namespace ostal::http {
namespace {

TEST(Target, DecodesPathAndQueryOnce) {
    const auto target = parse_target("/v1/models/a%20b%2541?x=1&y=a+b%26c&flag&=&x=%2f");
    ASSERT_TRUE(target);
    EXPECT_EQ(target->path, "/v1/models/a b%41");
    const std::vector<std::pair<std::string, std::string>> expected = {
        {"x", "1"}, {"y", "a b&c"}, {"flag", ""}, {"", ""}, {"x", "/"}};
    EXPECT_EQ(target->query, expected);
    EXPECT_EQ(parse_target("/")->path, "/");
    EXPECT_EQ(parse_target("/?")->path, "/");
    EXPECT_EQ(parse_target("/a/")->path, "/a/");
    EXPECT_EQ(parse_target("//a")->path, "//a");
    EXPECT_EQ(parse_target("/caf%C3%A9")->path, "/caf\xc3\xa9");
    EXPECT_EQ(parse_target("/a+b")->path, "/a+b");
    EXPECT_EQ(parse_target("/...")->path, "/...");
}

TEST(Target, RefusesOtherFormsAndConfusingPaths) {
    const std::vector<std::string> refused = {
        "", "*", "a", "http://host/", "https://host/v1/models", "host:443", "?x", "/a#b", "/a\\b", "/a b", "/a\tb",
        "/a\x7f", "/caf\xc3\xa9", "/%", "/%4", "/%4g", "/%g4", "/%00", "/a%00b", "/%2f", "/%2F", "/a%2fb", "/%5c",
        "/%5C", "/.", "/..", "/a/../b", "/a/./b", "/a/..", "/%2e", "/%2e%2E", "/.%2e/x", "/%0a", "/%0d%0a", "/%7f",
        "/%1f", "/%ff", "/%c0%af", "/%ed%a0%80", "/a?x=%", "/a?x=%zz", "/a?x=%00", "/a?%00", "/a?x=%ff", "/a?x=\x80",
        "/a?x=y#z"};
    for (const std::string& text : refused) EXPECT_FALSE(parse_target(text)) << text;
    EXPECT_FALSE(parse_target(std::string_view("/a\0b", 4)));
}

TEST(HostPolicy, AllowsItsNamesInEverySpelling) {
    const HostPolicy policy({"Ostal.Example", "localhost", "127.0.0.1", "::1", "2001:DB8:0:0::7"});
    for (const char* host : {"ostal.example", "OSTAL.example:8443", "ostal.example.", "localhost:1", "127.0.0.1",
                             "127.0.0.1:65535", "[::1]", "[::1]:8443", "[0:0:0:0:0:0:0:1]", "[2001:db8::7]:443"}) {
        EXPECT_EQ(policy.judge(host), HostPolicy::Verdict::kAllowed) << host;
    }
}

TEST(HostPolicy, TellsForeignFromMalformed) {
    const HostPolicy policy({"ostal.example", "::1"});
    for (const char* host : {"evil.example", "ostal.example.evil.example", "sub.ostal.example", "10.0.0.1", "[::2]",
                             "127.0.0.1", "ostal.example.."}) {
        EXPECT_EQ(policy.judge(host), HostPolicy::Verdict::kForeign) << host;
    }
    for (const char* host : {"", ":8443", "ostal.example:", "ostal.example:99999", "ostal.example:84x", "ostal.example/",
                             "ostal.example/path", "user@ostal.example", "ostal.example,evil", "ostal example",
                             "::1", "[::1", "[::1]x", "[]", "[evil]", "[::1]:", ".", "ostal.example:80:80", "ost%61l"}) {
        EXPECT_EQ(policy.judge(host), HostPolicy::Verdict::kMalformed) << host;
    }
    EXPECT_EQ(policy.judge(std::string(300, 'a')), HostPolicy::Verdict::kMalformed);
    EXPECT_EQ(HostPolicy({}).judge("localhost"), HostPolicy::Verdict::kForeign);
}

}  // namespace
}  // namespace ostal::http
