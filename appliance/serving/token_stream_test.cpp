#include "appliance/serving/token_stream.h"

#include <gtest/gtest.h>

#include <thread>

namespace ostal {
namespace {

using engine::PushResult;
using engine::TokenEvent;

TokenEvent event(std::string text) {
    TokenEvent out;
    out.text = std::move(text);
    return out;
}

TEST(TokenStream, FullPausesAndGoneCancels) {
    TokenStream stream(2);
    EXPECT_EQ(stream.push(event("a")), PushResult::kAccepted);
    EXPECT_EQ(stream.push(event("b")), PushResult::kAccepted);
    EXPECT_EQ(stream.push(event("c")), PushResult::kFull);
    EXPECT_EQ(stream.pop()->text, "a");
    EXPECT_EQ(stream.push(event("c")), PushResult::kAccepted);
    stream.abandon();
    EXPECT_EQ(stream.push(event("d")), PushResult::kGone);
}

TEST(TokenStream, TheEndIsTakenByAFullQueueAndComesLast) {
    TokenStream stream(1);
    EXPECT_EQ(stream.push(event("a")), PushResult::kAccepted);
    TokenEvent end = event("");
    end.finish = engine::FinishReason::kCancelled;
    EXPECT_EQ(stream.push(end), PushResult::kAccepted);
    EXPECT_EQ(stream.pop()->text, "a");
    EXPECT_TRUE(stream.pop()->finish.has_value());
    EXPECT_FALSE(stream.pop());
}

TEST(TokenStream, NoWakeIsLost) {
    TokenStream stream(4);
    std::atomic<int> wakes{0};
    EXPECT_EQ(stream.push(event("early")), PushResult::kAccepted);
    stream.on_event([&] { ++wakes; });
    EXPECT_GE(wakes.load(), 1);  // for the event that was there before
    EXPECT_EQ(stream.push(event("late")), PushResult::kAccepted);
    EXPECT_GE(wakes.load(), 2);
}

TEST(TokenStream, OrderHoldsAcrossThreads) {
    TokenStream stream(8);
    constexpr int kEvents = 5000;
    std::thread producer([&] {
        for (int i = 0; i < kEvents;) {
            if (stream.push(event(std::to_string(i))) == PushResult::kAccepted) {
                ++i;
            } else {
                std::this_thread::yield();
            }
        }
    });
    for (int i = 0; i < kEvents;) {
        if (const auto got = stream.pop()) {
            ASSERT_EQ(got->text, std::to_string(i++));
        } else {
            std::this_thread::yield();
        }
    }
    producer.join();
}

}  // namespace
}  // namespace ostal
