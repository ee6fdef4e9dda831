#include "appliance/control/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace ostal {
namespace {

std::pair<Channel, Channel> pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return {Channel(Descriptor(ends[0])), Channel(Descriptor(ends[1]))};
}

TEST(Channel, MessagesAndDescriptorsArrive) {
    auto [a, b] = pair();
    const int file = ::open("/dev/null", O_RDONLY);
    ASSERT_TRUE(a.send(json::Object{{"verb", "x"}}, {file, file}));
    ::close(file);
    auto got = b.receive();
    ASSERT_TRUE(got);
    EXPECT_EQ(got->value.find("verb")->as_string(), "x");
    ASSERT_EQ(got->descriptors.size(), 2U);
    EXPECT_GE(::fcntl(got->descriptors[0].get(), F_GETFD), 0);
}

TEST(Channel, LargeMessagesCrossInPieces) {
    auto [a, b] = pair();
    const std::string text(3 << 20, 'x');
    std::thread sender([&a = a, &text] { EXPECT_TRUE(a.send(json::Value(text))); });
    EXPECT_EQ(b.receive()->value.as_string(), text);
    sender.join();
    EXPECT_EQ(a.send(json::Value(std::string(Channel::kMaxMessageBytes, 'x'))).error().code(), Code::kTooLarge);
}

TEST(Channel, BrokenInputIsAnError) {
    auto [a, b] = pair();
    ASSERT_EQ(::write(a.descriptor(), "\xff\xff\xff\xff", 4), 4);
    EXPECT_EQ(b.receive().error().code(), Code::kInvalidArgument);
    auto [c, d] = pair();
    ASSERT_EQ(::write(c.descriptor(), "\x02\0\0\0{]", 6), 6);
    EXPECT_EQ(d.receive().error().code(), Code::kInvalidArgument);
    auto [e, f] = pair();
    ASSERT_EQ(::write(e.descriptor(), "\x09\0\0\0{", 5), 5);
    ::shutdown(e.descriptor(), SHUT_WR);
    EXPECT_EQ(f.receive().error().code(), Code::kUnavailable);
}

TEST(Channel, ErrorsKeepTheirKind) {
    const Error error = Error(Code::kIntegrity, "no").because("below_floor");
    const Error back = error_from_json(error_to_json(error));
    EXPECT_EQ(back.code(), Code::kIntegrity);
    EXPECT_EQ(back.reason(), "below_floor");
    EXPECT_EQ(error_from_json(json::Value(1)).code(), Code::kInternal);
}

TEST(Channel, PathsThatDoNotFitAreRefused) {
    EXPECT_EQ(Channel::connect("/" + std::string(200, 'x')).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(Channel::connect("/does/not/exist.sock").error().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace ostal
