// For tests of the step loop: one loop over a FakeModel, with a clock that stands still.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "engine/runtime/fake_model.h"
#include "engine/runtime/step_loop.h"
#include "tests/support/collecting_sink.h"

namespace ostal::engine {

inline constexpr std::int64_t kSecondUs = 1'000'000;

inline StepLoopOptions small_options() {
    StepLoopOptions options;
    options.vocab_size = FakeModel::kVocabSize;
    options.dim = FakeModel::kDim;
    options.context_length = 128;
    options.max_sequences = 8;
    options.max_queue = 16;
    options.step_token_budget = 16;
    options.kv_blocks = 256;
    options.kv_block_tokens = 4;
    options.full_sink_limit_us = 30 * kSecondUs;
    options.eos = {ByteTokenizer::kEos};
    return options;
}

inline GenerationRequest make_request(RequestId id, std::int32_t prompt_tokens, std::int32_t max_tokens) {
    GenerationRequest request;
    request.id = id;
    for (std::int32_t i = 0; i < prompt_tokens; ++i) {
        request.prompt.push_back(static_cast<TokenId>((static_cast<std::int64_t>(id) * 31 + i * 7) % 100));
    }
    request.max_tokens = max_tokens;
    return request;
}

inline GenerationRequest make_embedding(RequestId id, std::int32_t prompt_tokens, Pooling pooling) {
    GenerationRequest request = make_request(id, prompt_tokens, 0);
    request.embedding = pooling;
    return request;
}

inline GenerationRequest make_scripted(RequestId id, TokenId script, std::int32_t max_tokens) {
    GenerationRequest request;
    request.id = id;
    request.prompt = {FakeModel::kScript, script};
    request.max_tokens = max_tokens;
    return request;
}

class StepLoopTest : public testing::Test {
protected:
    // After the model and the options are set up.
    void start() {
        CHECK(model_ != nullptr || make_model());
        loop_ = std::make_unique<StepLoop>(options_, *model_, tokenizer_, clock_, log_);
    }
    FakeModel& model() {
        if (!model_) make_model();
        return *model_;
    }
    bool make_model() {
        model_ = std::make_unique<FakeModel>(options_.kv_blocks, options_.kv_block_tokens,
                                             options_.max_sequences + options_.step_token_budget);
        return true;
    }
    std::shared_ptr<test::CollectingSink> submit(GenerationRequest request,
                                                 test::CollectingSink::Behaviour behaviour = {}) {
        auto sink = std::make_shared<test::CollectingSink>(std::move(behaviour));
        const Status status = loop_->submit(std::move(request), sink);
        EXPECT_TRUE(status.has_value()) << (status ? "" : status.error().to_string());
        return sink;
    }
    test::Answer run(GenerationRequest request) { return submit(std::move(request))->wait(); }
    // What the same request gives when nothing else runs and memory is ample.
    std::vector<TokenId> alone(const GenerationRequest& request) { return answer_alone(request).tokens; }
    test::Answer answer_alone(const GenerationRequest& request) {
        StepLoopOptions options = small_options();
        FakeModel model(options.kv_blocks, options.kv_block_tokens,
                        options.max_sequences + options.step_token_budget);
        StepLoop loop(options, model, tokenizer_, clock_, log_);
        auto sink = std::make_shared<test::CollectingSink>();
        EXPECT_TRUE(loop.submit(request, sink).has_value());
        return sink->wait();
    }
    void expect_all_blocks_free() {
        loop_->drain(120 * kSecondUs);
        const EngineStats stats = loop_->stats();
        EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
        EXPECT_EQ(stats.running + stats.waiting + stats.paused, 0);
    }

    StepLoopOptions options_ = small_options();
    ByteTokenizer tokenizer_;
    ManualClock clock_;
    NullLog log_;
    std::unique_ptr<FakeModel> model_;
    std::unique_ptr<StepLoop> loop_;
};

}  // namespace ostal::engine
