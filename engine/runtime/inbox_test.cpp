#include "engine/runtime/inbox.h"

#include <gtest/gtest.h>

#include <thread>

#include "engine/runtime/fake_model.h"
#include "tests/support/collecting_sink.h"

namespace ostal::engine {
namespace {

std::unique_ptr<ActiveRequest> request(RequestId id) {
    static const ByteTokenizer tokenizer;
    GenerationRequest wanted;
    wanted.id = id;
    wanted.prompt = {1};
    wanted.max_tokens = 1;
    return std::make_unique<ActiveRequest>(std::move(wanted), std::make_shared<test::CollectingSink>(),
                                           tokenizer, 1);
}

TEST(Inbox, KeepsOrderAndIsBoundedByWhatIsAlive) {
    Inbox inbox(2, 3);
    ASSERT_TRUE(inbox.submit(request(7)).has_value());
    ASSERT_TRUE(inbox.submit(request(5)).has_value());
    EXPECT_EQ(inbox.submit(request(6)).error().reason(), "queue_full");
    EXPECT_EQ(inbox.untaken(), 2);
    Mail mail;
    inbox.take(mail, 0);
    ASSERT_EQ(mail.submitted.size(), 2U);
    EXPECT_EQ(mail.submitted[0]->id, 7U);
    EXPECT_EQ(mail.submitted[1]->id, 5U);
    EXPECT_EQ(inbox.untaken(), 0);
    // Taken is not started: the bound holds on.
    EXPECT_EQ(inbox.submit(request(6)).error().reason(), "queue_full");
    inbox.note_started();
    ASSERT_TRUE(inbox.submit(request(6)).has_value());
    inbox.note_started();
    // Three are alive.
    EXPECT_EQ(inbox.submit(request(8)).error().reason(), "queue_full");
    inbox.note_ended(7, true);
    EXPECT_EQ(inbox.submit(request(6)).error().code(), Code::kConflict);
    EXPECT_TRUE(inbox.submit(request(7)).has_value());  // the id is free again
}

std::vector<std::unique_ptr<ActiveRequest>> group(std::initializer_list<RequestId> ids) {
    std::vector<std::unique_ptr<ActiveRequest>> out;
    for (const RequestId id : ids) out.push_back(request(id));
    return out;
}

TEST(Inbox, AGroupIsTakenWholeOrNotAtAll) {
    Inbox inbox(4, 5);
    ASSERT_TRUE(inbox.submit(request(1)).has_value());
    EXPECT_EQ(inbox.submit(group({2, 3, 4, 5})).error().reason(), "queue_full");
    EXPECT_EQ(inbox.submit(group({2, 3, 1})).error().code(), Code::kConflict);
    EXPECT_EQ(inbox.submit(group({2, 3, 2})).error().code(), Code::kConflict);
    EXPECT_EQ(inbox.submit(group({2, 3, 4, 5, 6})).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(inbox.untaken(), 1);
    ASSERT_TRUE(inbox.submit(group({2, 3, 4})).has_value());  // nothing of the refused ones is left
    EXPECT_EQ(inbox.submit(request(5)).error().reason(), "queue_full");
    Mail mail;
    inbox.take(mail, 0);
    std::vector<RequestId> ids;
    for (const auto& taken : mail.submitted) ids.push_back(taken->id);
    EXPECT_EQ(ids, (std::vector<RequestId>{1, 2, 3, 4}));
    for (int i = 0; i < 4; ++i) inbox.note_started();
    EXPECT_EQ(inbox.submit(group({5, 6})).error().reason(), "queue_full");  // five may be alive
    EXPECT_TRUE(inbox.submit(group({5})).has_value());
    EXPECT_TRUE(inbox.submit(group({})).has_value());
    inbox.close();
    EXPECT_EQ(inbox.submit(group({7})).error().reason(), "draining");
}

TEST(Inbox, CancelsWhatIsAliveOnce) {
    Inbox inbox(4, 4);
    ASSERT_TRUE(inbox.submit(request(1)).has_value());
    for (int i = 0; i < 1000; ++i) {
        inbox.cancel(1);
        inbox.cancel(2);
    }
    Mail mail;
    inbox.take(mail, 0);
    EXPECT_EQ(mail.cancelled, std::vector<RequestId>{1});
    inbox.cancel(1);
    inbox.take(mail, 0);
    EXPECT_TRUE(mail.cancelled.empty());
    inbox.note_ended(1, false);
    ASSERT_TRUE(inbox.submit(request(1)).has_value());
    inbox.cancel(1);
    inbox.take(mail, 0);
    EXPECT_EQ(mail.cancelled.size(), 1U);
}

TEST(Inbox, AWaitingTakeIsWokenByEachKindOfMail) {
    constexpr std::int64_t kForEverUs = 100'000'000;
    Inbox inbox(4, 4);
    Mail mail;
    std::thread other([&] { ASSERT_TRUE(inbox.submit(request(1)).has_value()); });
    inbox.take(mail, kForEverUs);
    EXPECT_EQ(mail.submitted.size(), 1U);
    other.join();
    other = std::thread([&] { inbox.cancel(1); });
    inbox.take(mail, kForEverUs);
    EXPECT_EQ(mail.cancelled.size(), 1U);
    other.join();
    other = std::thread([&] { inbox.stop(); });
    inbox.take(mail, kForEverUs);
    EXPECT_TRUE(mail.stop);
    other.join();
    EXPECT_EQ(inbox.submit(request(2)).error().reason(), "draining");
}

TEST(Inbox, WaitsForTheLastOneOrForTheClock) {
    ManualClock clock;
    Inbox inbox(4, 4);
    EXPECT_TRUE(inbox.wait_until_idle(clock, 0));
    ASSERT_TRUE(inbox.submit(request(1)).has_value());
    EXPECT_FALSE(inbox.wait_until_idle(clock, 0));
    std::atomic<bool> returned{false};
    std::thread other([&] {
        while (!returned) {
            clock.advance_us(100);
            std::this_thread::yield();
        }
    });
    EXPECT_FALSE(inbox.wait_until_idle(clock, 1000));
    returned = true;
    other.join();
    other = std::thread([&] { inbox.note_ended(1, false); });
    EXPECT_TRUE(inbox.wait_until_idle(clock, 1000));
    other.join();
}

}  // namespace
}  // namespace ostal::engine
