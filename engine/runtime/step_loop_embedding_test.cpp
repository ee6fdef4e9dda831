// Embedding requests in the step loop: alone, beside generation, cut into chunks, preempted, refused,
// cancelled.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <thread>

#include "base/random.h"
#include "engine/runtime/step_loop_fixture.h"

namespace ostal::engine {
namespace {

using test::Answer;
using test::CollectingSink;
using test::eventually;

// The definition, without chunks, batches or blocks.
std::vector<double> naive_embedding(const GenerationRequest& request) {
    std::vector<double> mean(FakeModel::kDim, 0.0);
    const auto count = request.prompt.size();
    const std::size_t first = request.embedding == Pooling::kLastToken ? count - 1 : 0;
    for (std::size_t i = first; i < count; ++i) {
        std::vector<float> hidden(FakeModel::kDim);
        FakeModel::hidden_state(std::span(request.prompt).first(i + 1), hidden);
        for (std::size_t d = 0; d < mean.size(); ++d) {
            mean[d] += static_cast<double>(hidden[d]) / static_cast<double>(count - first);
        }
    }
    double squares = 0.0;
    for (const double value : mean) squares += value * value;
    for (double& value : mean) value /= std::sqrt(squares);
    return mean;
}

void expect_embedding(const Answer& answer, const GenerationRequest& request) {
    EXPECT_EQ(answer.finish, FinishReason::kStop);
    EXPECT_FALSE(answer.error.has_value());
    EXPECT_TRUE(answer.tokens.empty() && answer.text.empty() && answer.log_probs.empty());
    EXPECT_EQ(answer.usage.prompt_tokens, static_cast<std::int32_t>(request.prompt.size()));
    EXPECT_EQ(answer.usage.completion_tokens, 0);
    const std::vector<double> expected = naive_embedding(request);
    ASSERT_EQ(answer.embedding.size(), expected.size());
    double squares = 0.0;
    for (std::size_t d = 0; d < expected.size(); ++d) {
        EXPECT_NEAR(static_cast<double>(answer.embedding[d]), expected[d], 1e-6);
        squares += static_cast<double>(answer.embedding[d]) * static_cast<double>(answer.embedding[d]);
    }
    EXPECT_NEAR(squares, 1.0, 1e-6);
}

bool bit_equal(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_F(StepLoopTest, EmbeddingsOfBothPoolings) {
    start();
    RequestId id = 0;
    // 128 is the whole context: nothing need be left for an answer.
    for (const std::int32_t length : {1, 2, 15, 16, 17, 40, 128}) {
        for (const Pooling pooling : {Pooling::kMean, Pooling::kLastToken}) {
            const GenerationRequest request = make_embedding(++id, length, pooling);
            expect_embedding(run(request), request);
        }
    }
    EXPECT_EQ(loop_->stats().completion_tokens, 0);
    EXPECT_EQ(loop_->stats().prompt_tokens, 2 * (1 + 2 + 15 + 16 + 17 + 40 + 128));
    expect_all_blocks_free();
}

// The bits of an embedding, and the tokens beside it, depend on neither budget, nor company, nor preemption.
TEST_F(StepLoopTest, EmbeddingsAmongGenerationAreTheSameToTheBit) {
    std::int64_t preemptions = 0;
    for (const std::int32_t budget : {1, 3, 7, 64}) {
        options_.step_token_budget = budget;
        options_.kv_blocks = 36;  // one full context and a little
        model_.reset();
        loop_.reset();
        start();
        SeededRandom random(static_cast<std::uint64_t>(budget));
        std::vector<GenerationRequest> requests;
        std::vector<std::shared_ptr<CollectingSink>> sinks;
        for (RequestId id = 1; id <= 14; ++id) {
            const auto length = 1 + static_cast<std::int32_t>(random.below(80));
            GenerationRequest request =
                id % 2 == 0 ? make_request(id, length, 1 + static_cast<std::int32_t>(random.below(40)))
                            : make_embedding(id, length, id % 4 == 1 ? Pooling::kMean : Pooling::kLastToken);
            requests.push_back(request);
            sinks.push_back(submit(
                request, id % 3 == 0 ? CollectingSink::often_full(id, 40) : CollectingSink::Behaviour{}));
        }
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const Answer answer = sinks[i]->wait();
            const Answer expected = answer_alone(requests[i]);
            EXPECT_EQ(answer.tokens, expected.tokens) << "request " << requests[i].id;
            EXPECT_EQ(answer.finish, expected.finish);
            if (!requests[i].embedding) continue;
            expect_embedding(answer, requests[i]);
            EXPECT_TRUE(bit_equal(answer.embedding, expected.embedding)) << "request " << requests[i].id;
        }
        preemptions += loop_->stats().preemptions;
        expect_all_blocks_free();
    }
    EXPECT_GT(preemptions, 0);
}

// An older answer grows while the prompt of an embedding is half done: its blocks go, its sum starts anew.
TEST_F(StepLoopTest, APreemptedEmbeddingStartsAnew) {
    options_.kv_blocks = 32;  // one context
    options_.step_token_budget = 2;
    start();
    const GenerationRequest older = make_request(1, 40, 60);
    const GenerationRequest younger = make_embedding(2, 60, Pooling::kMean);
    auto first = submit(older);
    (void)first->wait_for_tokens(1);
    auto second = submit(younger);
    expect_embedding(second->wait(), younger);
    EXPECT_EQ(first->wait().tokens, alone(older));
    EXPECT_GT(loop_->stats().preemptions, 0);
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, UnusableHiddenStatesEndTheirRequestAlone) {
    start();
    RequestId id = 0;
    for (const Pooling pooling : {Pooling::kMean, Pooling::kLastToken}) {
        GenerationRequest poisoned = make_embedding(++id, 40, pooling);
        poisoned.prompt[2] = FakeModel::kPoison;
        const GenerationRequest healthy = make_embedding(++id, 40, pooling);
        auto first = submit(poisoned);
        auto second = submit(healthy);
        const Answer answer = first->wait();
        EXPECT_EQ(answer.finish, FinishReason::kError);
        EXPECT_TRUE(answer.embedding.empty());
        ASSERT_TRUE(answer.error.has_value());
        EXPECT_EQ(answer.error->code(), Code::kInternal);
        expect_embedding(second->wait(), healthy);
    }
    expect_all_blocks_free();
}

TEST_F(StepLoopTest, AnEmbeddingIsCancelledAndHasDeadlines) {
    std::atomic<std::int64_t> allowed{2};
    model().before_step = [&] {
        while (model_->steps >= allowed) std::this_thread::yield();
    };
    start();
    auto cancelled = submit(make_embedding(1, 100, Pooling::kMean));  // of seven chunks two are allowed
    eventually([&] { return model_->steps == 2; });
    GenerationRequest late = make_embedding(2, 100, Pooling::kMean);
    late.deadline_mono_us = clock_.mono_now_us() + 10;
    auto overdue = submit(late);
    loop_->cancel(1);
    clock_.advance_us(10);
    allowed = 1'000'000;
    EXPECT_EQ(cancelled->wait().finish, FinishReason::kCancelled);
    EXPECT_TRUE(cancelled->wait().embedding.empty());
    EXPECT_EQ(overdue->wait().finish, FinishReason::kCancelled);
    EXPECT_EQ(overdue->wait().error->code(), Code::kDeadlineExceeded);
    EXPECT_TRUE(overdue->wait().embedding.empty());
    expect_all_blocks_free();
}

// The one event is offered until it is taken, and holds no blocks meanwhile.
TEST_F(StepLoopTest, AnEmbeddingWaitsForItsReader) {
    start();
    std::atomic<bool> full{true};
    std::atomic<int> offers{0};
    const GenerationRequest request = make_embedding(1, 30, Pooling::kMean);
    auto sink = submit(request, [&](std::uint64_t) {
        ++offers;
        return full ? PushResult::kFull : PushResult::kAccepted;
    });
    eventually([&] { return offers > 3; });
    EXPECT_EQ(loop_->stats().kv_blocks_free, loop_->stats().kv_blocks_total);
    full = false;
    expect_embedding(sink->wait(), request);
    auto gone =
        submit(make_embedding(2, 30, Pooling::kMean), [](std::uint64_t) { return PushResult::kGone; });
    expect_all_blocks_free();
    EXPECT_EQ(gone.use_count(), 1);
}

TEST_F(StepLoopTest, AGroupIsQueuedWholeOrRefusedWhole) {
    options_.max_sequences = 1;
    options_.max_queue = 4;
    std::atomic<bool> hold{true};
    model().before_step = [&] {
        while (hold) std::this_thread::yield();
    };
    start();
    auto running = submit(make_request(1, 3, 5));
    eventually([&] { return loop_->stats().waiting == 0; });
    const auto group = [](RequestId first, std::uint32_t choices, double temperature) {
        std::vector<Submission> out;
        for (std::uint32_t choice = 0; choice < choices; ++choice) {
            GenerationRequest request = make_request(first, 3, 20);
            request.id = first + choice;
            request.sampling.temperature = temperature;
            request.sampling.choice = choice;
            out.push_back({std::move(request), std::make_shared<CollectingSink>()});
        }
        return out;
    };
    EXPECT_EQ(loop_->submit_all(group(10, 5, 1.0)).error().code(), Code::kInvalidArgument);
    const Status broken = loop_->submit_all(group(10, 2, -1.0));
    EXPECT_EQ(broken.error().code(), Code::kInvalidArgument);
    // The first may still count as waiting here; once it does not, three and not four more fit beside one.
    eventually(
        [&] { return loop_->submit(make_request(2, 3, 5), std::make_shared<CollectingSink>()).has_value(); });
    eventually([&] {
        const auto status = loop_->submit_all(group(20, 4, 1.0));
        return !status && status.error().reason() == "queue_full";
    });
    std::vector<Submission> three = group(30, 3, 1.0);
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (const Submission& one : three) sinks.push_back(std::static_pointer_cast<CollectingSink>(one.sink));
    eventually([&] { return loop_->submit_all(three).has_value(); });
    EXPECT_EQ(loop_->submit_all(group(40, 1, 1.0)).error().reason(), "queue_full");
    hold = false;
    std::vector<std::vector<TokenId>> answers;
    for (const auto& sink : sinks) answers.push_back(sink->wait().tokens);
    EXPECT_NE(answers[0], answers[1]);
    EXPECT_NE(answers[0], answers[2]);
    EXPECT_NE(answers[1], answers[2]);
    for (std::size_t i = 0; i < three.size(); ++i) EXPECT_EQ(answers[i], alone(three[i].request));
    expect_all_blocks_free();
}

}  // namespace
}  // namespace ostal::engine
