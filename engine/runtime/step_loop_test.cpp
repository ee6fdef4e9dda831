#include "engine/runtime/step_loop.h"

#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "base/random.h"
#include "engine/runtime/step_loop_fixture.h"
#include "tests/support/allocation_count.h"

namespace ostal::engine {
namespace {

using test::Answer;
using test::CollectingSink;
using test::eventually;

TEST_F(StepLoopTest, AnAnswerOfFullLength) {
    start();
    const Answer answer = run(make_request(1, 40, 20));
    EXPECT_EQ(answer.finish, FinishReason::kLength);
    EXPECT_EQ(answer.tokens.size(), 20U);
    EXPECT_EQ(answer.text, tokenizer_.decode(answer.tokens));
    EXPECT_EQ(answer.usage.prompt_tokens, 40);
    EXPECT_EQ(answer.usage.completion_tokens, 20);
    EXPECT_FALSE(answer.error.has_value());
    const EngineStats stats = loop_->stats();
    EXPECT_EQ(stats.prompt_tokens, 40);
    EXPECT_EQ(stats.completion_tokens, 20);
    EXPECT_EQ(stats.steps, 3 + 19);  // 40 prompt tokens in chunks of 16, the last of which gives a token
    EXPECT_EQ(stats.last_step_mono_us, clock_.mono_now_us());
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, BatchingPreemptionAndSlowReadersChangeNoToken) {
    options_.kv_blocks = 36;  // one full context and a little: eight sequences do not fit
    start();
    SeededRandom random(5);
    for (int round = 0; round < 6; ++round) {
        std::vector<GenerationRequest> requests;
        std::vector<std::shared_ptr<CollectingSink>> sinks;
        for (RequestId id = 1; id <= 12; ++id) {
            GenerationRequest request = make_request(static_cast<RequestId>(round) * 100 + id,
                                                     1 + static_cast<std::int32_t>(random.below(60)),
                                                     1 + static_cast<std::int32_t>(random.below(60)));
            if (id % 2 == 0) {
                request.sampling.temperature = 1.0;
                request.sampling.top_p = 0.95;
                request.sampling.top_k = static_cast<std::int32_t>(random.below(50));
                request.sampling.seed = id;
            }
            requests.push_back(request);
            sinks.push_back(submit(
                request, id % 3 == 0 ? CollectingSink::often_full(id, 40) : CollectingSink::Behaviour{}));
            if (random.below(2) == 0) (void)sinks[random.below(sinks.size())]->wait_for_tokens(1);
        }
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const Answer answer = sinks[i]->wait();
            EXPECT_EQ(answer.finish, FinishReason::kLength);
            EXPECT_EQ(answer.tokens, alone(requests[i])) << "round " << round << " request " << i;
            EXPECT_EQ(answer.text, tokenizer_.decode(answer.tokens));
        }
    }
    EXPECT_GT(loop_->stats().preemptions, 0);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, RandomCancelsLeaveTheOthersAlone) {
    options_.kv_blocks = 40;
    start();
    SeededRandom random(17);
    std::vector<GenerationRequest> requests;
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (RequestId id = 1; id <= 60; ++id) {
        GenerationRequest request = make_request(id, 1 + static_cast<std::int32_t>(random.below(50)), 50);
        auto sink = std::make_shared<CollectingSink>(id % 5 == 0 ? CollectingSink::often_full(id, 60)
                                                                 : CollectingSink::Behaviour{});
        while (!loop_->submit(request, sink)) std::this_thread::yield();  // the queue holds 16
        requests.push_back(request);
        sinks.push_back(sink);
        if (random.below(3) == 0) (void)sinks[random.below(sinks.size())]->wait_for_tokens(random.below(20));
        if (random.below(2) == 0) loop_->cancel(1 + random.below(id));
    }
    int cancelled = 0;
    for (std::size_t i = 0; i < sinks.size(); ++i) {
        const Answer answer = sinks[i]->wait();
        const auto expected = alone(requests[i]);
        if (answer.finish == FinishReason::kCancelled) {
            ++cancelled;
            ASSERT_LE(answer.tokens.size(), expected.size());
            EXPECT_TRUE(std::equal(answer.tokens.begin(), answer.tokens.end(), expected.begin()));
            EXPECT_FALSE(answer.error.has_value());
        } else {
            EXPECT_EQ(answer.tokens, expected);
        }
    }
    EXPECT_GT(cancelled, 5);
    EXPECT_LT(cancelled, 55);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, CancelReachesEveryStage) {
    options_.max_sequences = 1;
    std::atomic<bool> hold{false};
    std::atomic<bool> held{false};
    model().before_step = [&] {
        held = hold.load();
        while (hold) std::this_thread::yield();
        held = false;
    };
    start();
    // Decoding, and queued behind it; an answer of 100 tokens is far from its end when both are cancelled.
    hold = true;
    auto decoding = submit(make_request(1, 3, 100));
    auto queued = submit(make_request(2, 3, 100));
    eventually([&] { return held.load(); });
    loop_->cancel(2);
    loop_->cancel(1);
    loop_->cancel(1);
    loop_->cancel(99);
    hold = false;
    EXPECT_EQ(decoding->wait().finish, FinishReason::kCancelled);
    EXPECT_EQ(decoding->wait().usage.completion_tokens, 1);  // of the step that was under way
    EXPECT_EQ(queued->wait().finish, FinishReason::kCancelled);
    EXPECT_EQ(queued->wait().usage.completion_tokens, 0);
    // In prefill: two of its seven chunks are done.
    hold = true;
    auto prefill = submit(make_request(3, 100, 10));
    eventually([&] { return held.load(); });
    loop_->cancel(3);
    hold = false;
    EXPECT_EQ(prefill->wait().finish, FinishReason::kCancelled);
    EXPECT_EQ(prefill->wait().usage.completion_tokens, 0);
    // Paused.
    auto paused = submit(make_request(4, 3, 100), [](std::uint64_t offer) {
        return offer >= 2 && offer < 10 ? PushResult::kFull : PushResult::kAccepted;
    });
    (void)paused->wait_for_tokens(2);
    loop_->cancel(4);
    EXPECT_EQ(paused->wait().finish, FinishReason::kCancelled);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, AFullSinkPausesItsSequenceAloneAndTheEventComesAgain) {
    start();
    std::atomic<bool> full{true};
    auto slow = submit(make_request(1, 5, 40), [&](std::uint64_t offer) {
        return offer >= 3 && full ? PushResult::kFull : PushResult::kAccepted;
    });
    eventually([&] { return loop_->stats().paused == 1; });
    EXPECT_EQ(slow->tokens_so_far(), 3U);
    EXPECT_LT(loop_->stats().kv_blocks_free, loop_->stats().kv_blocks_total);  // it keeps its blocks
    auto other = submit(make_request(2, 5, 40));
    EXPECT_EQ(other->wait().tokens, alone(make_request(2, 5, 40)));
    EXPECT_EQ(slow->tokens_so_far(), 3U);
    full = false;
    EXPECT_EQ(slow->wait().tokens, alone(make_request(1, 5, 40)));
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, ASinkThatStaysFullIsCancelledAfterTheLimit) {
    start();
    auto stuck = submit(make_request(1, 5, 40), [](std::uint64_t) { return PushResult::kFull; });
    auto ended = submit(make_request(2, 5, 1), [](std::uint64_t) { return PushResult::kFull; });
    eventually([&] { return loop_->stats().paused == 1 && loop_->stats().running == 1; });
    const auto steps = loop_->stats().steps;
    clock_.advance_us(30 * kSecondUs - 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // some turns, in which nothing may happen
    EXPECT_EQ(loop_->stats().paused, 1);
    EXPECT_EQ(loop_->stats().steps, steps);
    clock_.advance_us(1);
    loop_->drain(120 * kSecondUs);
    EXPECT_FALSE(stuck->so_far().finish.has_value());
    EXPECT_EQ(stuck.use_count(), 1);  // the engine let it go
    EXPECT_EQ(ended.use_count(), 1);
    expect_all_blocks_free();
}

// Takes nothing but the last event.
class LastEventSink final : public TokenSink {
public:
    PushResult push(const TokenEvent& event) override {
        if (!event.finish) return PushResult::kFull;
        last = event;
        ended = true;
        return PushResult::kAccepted;
    }
    TokenEvent last;
    std::atomic<bool> ended{false};
};

TEST_F(StepLoopTest, TheLastEventSaysThatTheReaderWasTooSlow) {
    start();
    auto sink = std::make_shared<LastEventSink>();
    ASSERT_TRUE(loop_->submit(make_request(1, 5, 40), sink).has_value());
    eventually([&] { return loop_->stats().paused == 1; });
    clock_.advance_us(30 * kSecondUs);
    eventually([&] { return sink->ended.load(); });
    EXPECT_EQ(sink->last.finish, FinishReason::kCancelled);
    ASSERT_TRUE(sink->last.error.has_value());
    EXPECT_EQ(sink->last.error->code(), Code::kDeadlineExceeded);
    EXPECT_EQ(sink->last.tokens.size(), 1U);  // the refused event is part of it
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, AReaderThatLeftEndsItsSequenceAlone) {
    start();
    auto gone = submit(make_request(1, 5, 100), [](std::uint64_t offer) {
        return offer == 3 ? PushResult::kGone : PushResult::kAccepted;
    });
    auto other = submit(make_request(2, 5, 60));
    EXPECT_EQ(other->wait().tokens, alone(make_request(2, 5, 60)));
    expect_all_blocks_free();
    EXPECT_EQ(gone->so_far().tokens.size(), 3U);
    EXPECT_FALSE(gone->so_far().finish.has_value());
    EXPECT_EQ(gone.use_count(), 1);
}

TEST_F(StepLoopTest, DeadlinesAreKeptByTheClock) {
    options_.max_sequences = 1;
    std::atomic<std::int64_t> allowed{3};
    model().before_step = [&] {
        while (model_->steps >= allowed) std::this_thread::yield();
    };
    start();
    GenerationRequest running = make_request(1, 3, 100);
    running.deadline_mono_us = clock_.mono_now_us() + 500;
    GenerationRequest queued = make_request(2, 3, 5);
    queued.deadline_mono_us = clock_.mono_now_us() + 500;
    GenerationRequest patient = make_request(3, 3, 5);
    patient.deadline_mono_us = clock_.mono_now_us() + 501;
    auto first = submit(running);
    auto second = submit(queued);
    auto third = submit(patient);
    (void)first->wait_for_tokens(3);
    clock_.advance_us(500);
    allowed = 1'000'000;
    for (const auto& sink : {first, second}) {
        const Answer answer = sink->wait();
        EXPECT_EQ(answer.finish, FinishReason::kCancelled);
        ASSERT_TRUE(answer.error.has_value());
        EXPECT_EQ(answer.error->code(), Code::kDeadlineExceeded);
    }
    EXPECT_LT(first->wait().tokens.size(), 100U);
    EXPECT_EQ(third->wait().finish, FinishReason::kLength);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, UnusableLogitsEndTheirRequestAlone) {
    start();
    for (const TokenId poison : {FakeModel::kPoison, FakeModel::kFlaggedPoison}) {
        GenerationRequest poisoned = make_request(static_cast<RequestId>(poison), 5, 40);
        poisoned.prompt[2] = poison;
        GenerationRequest healthy = make_request(static_cast<RequestId>(1000 + poison), 5, 40);
        auto first = submit(poisoned);
        auto second = submit(healthy);
        const Answer answer = first->wait();
        EXPECT_EQ(answer.finish, FinishReason::kError);
        ASSERT_TRUE(answer.error.has_value());
        EXPECT_EQ(answer.error->code(), Code::kInternal);
        EXPECT_EQ(second->wait().tokens, alone(healthy));
    }
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, RefusesWhatCannotBe) {
    start();
    const auto refusal = [&](const GenerationRequest& request) {
        const Status status = loop_->submit(request, std::make_shared<CollectingSink>());
        return status ? Error(Code::kCancelled, "accepted") : status.error();
    };
    const GenerationRequest good = make_request(1, 100, 28);
    GenerationRequest bad = make_request(1, 100, 29);
    const Error too_long = refusal(bad);
    EXPECT_EQ(too_long.code(), Code::kContextLengthExceeded);
    EXPECT_NE(too_long.message().find("128"), std::string::npos);
    EXPECT_NE(too_long.message().find("129"), std::string::npos);
    bad.max_tokens = std::numeric_limits<std::int32_t>::max();
    EXPECT_EQ(refusal(bad).code(), Code::kContextLengthExceeded);
    const auto expect_invalid = [&](const std::function<void(GenerationRequest&)>& change) {
        GenerationRequest changed = good;
        change(changed);
        EXPECT_EQ(refusal(changed).code(), Code::kInvalidArgument);
    };
    expect_invalid([](auto& r) { r.prompt.clear(); });
    expect_invalid([](auto& r) { r.prompt[5] = -1; });
    expect_invalid([](auto& r) { r.prompt[5] = FakeModel::kVocabSize; });
    expect_invalid([](auto& r) { r.max_tokens = 0; });
    expect_invalid([](auto& r) { r.sampling.temperature = -0.1; });
    expect_invalid([](auto& r) { r.sampling.temperature = std::numeric_limits<double>::infinity(); });
    expect_invalid([](auto& r) { r.sampling.temperature = std::numeric_limits<double>::quiet_NaN(); });
    expect_invalid([](auto& r) { r.sampling.top_p = 0.0; });
    expect_invalid([](auto& r) { r.sampling.top_p = 1.1; });
    expect_invalid([](auto& r) { r.sampling.top_k = -1; });
    EXPECT_EQ(run(good).finish, FinishReason::kLength);
}

TEST_F(StepLoopTest, AFullQueueAndADrainingEngineSaySo) {
    options_.max_sequences = 1;
    options_.max_queue = 2;
    std::atomic<bool> hold{true};
    model().before_step = [&] {
        while (hold) std::this_thread::yield();
    };
    start();
    auto running = submit(make_request(1, 3, 5));
    eventually([&] { return loop_->stats().waiting == 0; });
    auto sink = std::make_shared<CollectingSink>();
    eventually([&] { return loop_->submit(make_request(2, 3, 5), sink).has_value(); });
    const auto again = loop_->submit(make_request(2, 3, 5), sink);
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(again.error().code(), Code::kConflict);
    // The first may still count as waiting here, so one more is accepted at the most.
    Status last;
    int accepted = 0;
    std::vector<std::shared_ptr<CollectingSink>> more;
    for (RequestId id = 3; id < 6 && last; ++id) {
        more.push_back(std::make_shared<CollectingSink>());
        last = loop_->submit(make_request(id, 3, 5), more.back());
        accepted += last ? 1 : 0;
    }
    ASSERT_FALSE(last.has_value());
    EXPECT_LE(accepted, 1);
    EXPECT_EQ(last.error().code(), Code::kUnavailable);
    EXPECT_EQ(last.error().reason(), "queue_full");
    loop_->drain(0);
    last = loop_->submit(make_request(9, 3, 5), sink);
    ASSERT_FALSE(last.has_value());
    EXPECT_EQ(last.error().reason(), "draining");
    hold = false;
    loop_->drain(120 * kSecondUs);
    EXPECT_EQ(running->so_far().finish, FinishReason::kLength);
    EXPECT_EQ(sink->so_far().finish, FinishReason::kLength);
}

TEST_F(StepLoopTest, AThousandQueuedRequestsAllEnd) {
    options_.max_queue = 1000;
    options_.max_sequences = 64;
    start();
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (RequestId id = 1; id <= 1000; ++id) sinks.push_back(submit(make_request(id, 8, 8)));
    for (auto& sink : sinks) EXPECT_EQ(sink->wait().finish, FinishReason::kLength);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, ManyThreadsSubmitAndCancel) {
    options_.kv_blocks = 64;
    options_.max_queue = 100;
    start();
    std::vector<std::thread> threads;
    std::atomic<int> ended{0};
    for (RequestId t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (RequestId i = 0; i < 25; ++i) {
                const RequestId id = 1 + t * 25 + i;
                auto sink = submit(make_request(id, 10, 20));
                if (i % 3 == 0) loop_->cancel(id);
                (void)loop_->stats();
                ended += sink->wait().finish.has_value() ? 1 : 0;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(ended, 100);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, TheDestructorTellsEveryRequest) {
    options_.max_sequences = 2;
    // Half a second of work, so that most of it is undone when the destructor runs.
    model().before_step = [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
    start();
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (RequestId id = 1; id <= 10; ++id) {
        sinks.push_back(
            submit(make_request(id, 10, 100),
                   id == 2 ? CollectingSink::Behaviour([](std::uint64_t) { return PushResult::kFull; })
                           : CollectingSink::Behaviour{}));
    }
    (void)sinks[0]->wait_for_tokens(1);
    loop_.reset();
    int cancelled = 0;
    for (std::size_t i = 0; i < sinks.size(); ++i) {
        const Answer answer = sinks[i]->so_far();
        EXPECT_EQ(sinks[i].use_count(), 1);
        if (i == 1) continue;  // its sink never took anything
        ASSERT_TRUE(answer.finish.has_value());
        if (answer.finish == FinishReason::kLength) continue;
        ++cancelled;
        EXPECT_EQ(answer.finish, FinishReason::kCancelled);
        EXPECT_EQ(answer.error->code(), Code::kUnavailable);
    }
    EXPECT_GE(cancelled, 5);
}

// A sink that copies nothing: what is counted is the engine's own.
class CountingSink final : public TokenSink {
public:
    PushResult push(const TokenEvent& event) override {
        tokens_ += static_cast<std::int64_t>(event.tokens.size());
        if (tokens_ == kFrom) before_ = testing_support::allocations_on_this_thread();
        if (tokens_ == kTo) {
            allocations = static_cast<std::int64_t>(testing_support::allocations_on_this_thread() - before_);
        }
        if (event.finish) finished = true;
        return PushResult::kAccepted;
    }
    static constexpr std::int64_t kFrom = 10;
    static constexpr std::int64_t kTo = 110;
    std::atomic<std::int64_t> allocations{-1};  // of the scheduler thread between two tokens
    std::atomic<bool> finished{false};

private:
    std::int64_t tokens_ = 0;
    std::uint64_t before_ = 0;
};

TEST_F(StepLoopTest, ADecodeStepAllocatesNothing) {
    options_.max_sequences = 5;
    model().scripts[0].assign(120, ByteTokenizer::kLongPiece);
    start();
    std::vector<std::shared_ptr<CountingSink>> sinks;
    for (RequestId id = 1; id <= 5; ++id) {
        GenerationRequest request = id == 5 ? make_scripted(id, 0, 120) : make_request(id, 4, 120);
        if (id % 2 == 0) {
            request.sampling.temperature = 0.8;
            request.sampling.top_p = 0.9;
            request.stop = {"never generated, but looked for"};
        }
        sinks.push_back(std::make_shared<CountingSink>());
        ASSERT_TRUE(loop_->submit(request, sinks.back()).has_value());
    }
    for (const auto& sink : sinks) {
        eventually([&] { return sink->finished.load(); });
        // 100 steps of up to five sequences, block growth included.
        EXPECT_EQ(sink->allocations, 0);
    }
}

TEST_F(StepLoopTest, TurnsAtLeastOnceASecondForTheWatchdog) {
    start();
    clock_.advance_us(5 * kSecondUs);
    eventually([&] { return loop_->stats().last_step_mono_us == clock_.mono_now_us(); });
}

}  // namespace
}  // namespace ostal::engine
