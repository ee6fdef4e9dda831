// What a request says about sampling, through the whole loop: penalties, minimum length, log-probabilities,
// choices; unchanged by chunks, company, preemption and slow readers.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "engine/runtime/step_loop_fixture.h"
#include "tests/support/allocation_count.h"

namespace ostal::engine {
namespace {

using test::Answer;
using test::CollectingSink;
using test::eventually;

class SamplingLoopTest : public StepLoopTest {
protected:
    // Under an id of its own: that of a request which has just told its end may still be in use.
    Answer run_next(GenerationRequest request, CollectingSink::Behaviour behaviour = {}) {
        request.id = ++last_id_;
        return submit(std::move(request), std::move(behaviour))->wait();
    }

private:
    RequestId last_id_ = 1000;
};

GenerationRequest random_request(SeededRandom& random, RequestId id) {
    GenerationRequest request = make_request(id, 1 + static_cast<std::int32_t>(random.below(60)),
                                             1 + static_cast<std::int32_t>(random.below(60)));
    SamplingParams& sampling = request.sampling;
    sampling.temperature = random.below(3) == 0 ? 0.0 : 1.0;
    sampling.min_p = random.below(2) == 0 ? 0.0 : 0.02;
    sampling.top_p = random.below(2) == 0 ? 1.0 : 0.95;
    sampling.presence_penalty = random.below(2) == 0 ? 0.0 : 1.5;
    sampling.frequency_penalty = random.below(2) == 0 ? 0.0 : 2.0;
    if (random.below(2) == 0) sampling.logit_bias = {{65, 4.0}, {66, -100.0}};
    sampling.seed = id;
    sampling.choice = static_cast<std::uint32_t>(random.below(4));
    if (random.below(2) == 0) request.top_log_probs = static_cast<std::int32_t>(random.below(21));
    if (random.below(3) == 0) request.min_tokens = request.max_tokens;
    return request;
}

void expect_same(const Answer& a, const Answer& b) {
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.finish, b.finish);
    ASSERT_EQ(a.log_probs.size(), b.log_probs.size());
    for (std::size_t i = 0; i < a.log_probs.size(); ++i) {
        EXPECT_EQ(a.log_probs[i].log_prob, b.log_probs[i].log_prob);
        ASSERT_EQ(a.log_probs[i].top.size(), b.log_probs[i].top.size());
        for (std::size_t k = 0; k < a.log_probs[i].top.size(); ++k) {
            EXPECT_EQ(a.log_probs[i].top[k].id, b.log_probs[i].top[k].id);
            EXPECT_EQ(a.log_probs[i].top[k].log_prob, b.log_probs[i].top[k].log_prob);
        }
    }
}

TEST_F(SamplingLoopTest, SamplingIsTheSameAloneAndPreemptedInCompany) {
    std::int64_t preemptions = 0;
    for (const std::int32_t budget : {1, 5, 64}) {
        options_.step_token_budget = budget;
        options_.kv_blocks = 36;
        loop_.reset();
        model_.reset();
        start();
        SeededRandom random(static_cast<std::uint64_t>(budget));
        std::vector<GenerationRequest> requests;
        std::vector<std::shared_ptr<CollectingSink>> sinks;
        for (RequestId id = 1; id <= 14; ++id) {
            requests.push_back(random_request(random, id));
            sinks.push_back(submit(requests.back(), id % 3 == 0 ? CollectingSink::often_full(id, 40)
                                                                : CollectingSink::Behaviour{}));
        }
        for (std::size_t i = 0; i < requests.size(); ++i) {
            SCOPED_TRACE(requests[i].id);
            const Answer answer = sinks[i]->wait();
            expect_same(answer, answer_alone(requests[i]));
            EXPECT_EQ(answer.log_probs.size(), requests[i].top_log_probs ? answer.tokens.size() : 0U);
        }
        preemptions += loop_->stats().preemptions;
        expect_all_blocks_free();
    }
    EXPECT_GT(preemptions, 0);
}

TEST_F(SamplingLoopTest, PenaltiesCountTheAnswerAndNotThePrompt) {
    // The script wants 'a' for ever, 8 and more above all others: penalties of 2 and 2 bring it below the
    // rest once (2 + 2 n) is more than that.
    model().scripts[0].assign(60, 'a');
    start();
    GenerationRequest request = make_scripted(1, 0, 40);
    request.sampling.logit_bias = {{'a', -40.0}};  // of 50: 10 is left, the others have at most 4
    EXPECT_EQ(run_next(request).tokens, std::vector<TokenId>(40, 'a'));
    request.sampling.presence_penalty = 2.0;
    EXPECT_EQ(run_next(request).tokens, std::vector<TokenId>(40, 'a'));  // once, not each time
    request.sampling.frequency_penalty = 2.0;
    std::vector<TokenId> tokens = run_next(request).tokens;
    // 10 - 2 - 2 n > 4 for n = 0 and 1; then the others, each of them penalised in its turn.
    EXPECT_EQ(tokens[0], 'a');
    EXPECT_EQ(tokens[1], 'a');
    EXPECT_GT(std::count_if(tokens.begin(), tokens.end(), [](TokenId id) { return id != 'a'; }), 20);
    // The prompt holds token 210 and script 0; a bias towards 0 is not penalised before it is generated.
    request.sampling = {};
    request.sampling.logit_bias = {{0, 60.0}};
    request.sampling.presence_penalty = 2.0;
    EXPECT_EQ(run_next(request).tokens[0], 0);
}

TEST_F(SamplingLoopTest, MinTokensKeepsEndsAway) {
    std::vector<TokenId> script(20, ByteTokenizer::kEos);
    model().scripts[0] = script;
    model().scripts[1].assign(20, ByteTokenizer::kEndOfTurn);
    start();
    EXPECT_EQ(run_next(make_scripted(1, 0, 20)).tokens.size(), 1U);
    for (const std::int32_t least : {1, 7, 20}) {
        GenerationRequest request = make_scripted(1, 0, 20);
        request.min_tokens = least;
        const Answer answer = run_next(request);
        const auto wanted = std::min<std::size_t>(static_cast<std::size_t>(least) + 1, 20);
        ASSERT_EQ(answer.tokens.size(), wanted);
        for (std::int32_t i = 0; i < least; ++i)
            EXPECT_NE(answer.tokens[static_cast<std::size_t>(i)], ByteTokenizer::kEos);
        EXPECT_EQ(answer.finish, least == 20 ? FinishReason::kLength : FinishReason::kStop);
    }
    GenerationRequest request = make_scripted(1, 1, 20);
    request.stop_tokens = {ByteTokenizer::kEndOfTurn};
    request.min_tokens = 5;
    const Answer answer = run_next(request);
    EXPECT_EQ(answer.tokens.size(), 6U);
    EXPECT_EQ(answer.tokens.back(), ByteTokenizer::kEndOfTurn);
}

TEST_F(SamplingLoopTest, ChoicesDifferAndRepeat) {
    start();
    std::vector<std::vector<TokenId>> answers;
    for (const std::uint32_t choice : {0U, 1U, 2U, 0U, 1U, 2U}) {
        GenerationRequest request = make_request(1, 10, 40);
        request.sampling.temperature = 1.0;
        request.sampling.seed = 5;
        request.sampling.choice = choice;
        answers.push_back(run_next(request).tokens);
    }
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(answers[i], answers[i + 3]);
        EXPECT_NE(answers[i], answers[(i + 1) % 3]);
    }
}

// Text is held back by a stop string and events are refused: every token still has its entry, the last too.
TEST_F(SamplingLoopTest, LogProbabilitiesStayWithTheirTokens) {
    std::vector<TokenId> script;
    for (const char c : std::string("one STO two STOP")) script.push_back(static_cast<unsigned char>(c));
    model().scripts[0] = script;
    script.push_back(ByteTokenizer::kEos);
    model().scripts[1] = script;
    start();
    for (const TokenId which : {0, 1}) {
        for (const std::int32_t top : {0, 1, 20}) {
            GenerationRequest request = make_scripted(1, which, 30);
            if (which == 0) request.stop = {"STOP"};
            request.sampling.logit_bias = {{'q', -3.0}};  // the model's own numbers do not see it
            request.top_log_probs = top;
            const Answer answer = run_next(request, CollectingSink::often_full(7, 60));
            EXPECT_EQ(answer.finish, FinishReason::kStop);
            EXPECT_EQ(answer.tokens.size(), which == 0 ? 16U : 17U);
            ASSERT_EQ(answer.log_probs.size(), answer.tokens.size());
            for (std::size_t i = 0; i < answer.tokens.size(); ++i) {
                const TokenLogProbs& entry = answer.log_probs[i];
                ASSERT_EQ(entry.top.size(), static_cast<std::size_t>(top));
                // 50 against at most 4: all but certain.
                EXPECT_LE(entry.log_prob, 0.0);
                EXPECT_GT(entry.log_prob, -1e-12);
                if (top == 0) continue;
                EXPECT_EQ(entry.top[0].id, answer.tokens[i]);
                EXPECT_EQ(entry.top[0].log_prob, entry.log_prob);
                for (std::size_t k = 1; k < entry.top.size(); ++k) {
                    EXPECT_GE(entry.top[k - 1].log_prob, entry.top[k].log_prob);
                    EXPECT_LT(entry.top[k].id, ByteTokenizer::kVocabSize);  // no padding
                }
            }
        }
    }
}

TEST_F(SamplingLoopTest, BiasPenaltiesAndMinTokensAllocateNothingInAStep) {
    class Counting final : public TokenSink {
    public:
        PushResult push(const TokenEvent& event) override {
            tokens_ += event.tokens.size();
            if (tokens_ == 10) before_ = testing_support::allocations_on_this_thread();
            if (tokens_ == 110) allocations = testing_support::allocations_on_this_thread() - before_;
            if (event.finish) finished = true;
            return PushResult::kAccepted;
        }
        std::atomic<std::uint64_t> allocations{99};
        std::atomic<bool> finished{false};

    private:
        std::size_t tokens_ = 0;
        std::uint64_t before_ = 0;
    };
    options_.max_sequences = 3;
    start();
    std::vector<std::shared_ptr<Counting>> sinks;
    for (RequestId id = 1; id <= 3; ++id) {
        GenerationRequest request = make_request(id, 4, 120);
        request.sampling.temperature = id == 1 ? 0.0 : 1.0;
        request.sampling.min_p = id == 2 ? 0.05 : 0.0;
        request.sampling.presence_penalty = 1.0;
        request.sampling.frequency_penalty = 0.5;
        request.sampling.logit_bias = {{3, 5.0}, {4, -100.0}};
        request.min_tokens = 120;
        sinks.push_back(std::make_shared<Counting>());
        ASSERT_TRUE(loop_->submit(request, sinks.back()).has_value());
    }
    for (const auto& sink : sinks) {
        eventually([&] { return sink->finished.load(); });
        EXPECT_EQ(sink->allocations, 0U);
    }
}

}  // namespace
}  // namespace ostal::engine
