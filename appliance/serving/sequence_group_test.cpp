#include "appliance/serving/sequence_group.h"

#include <gtest/gtest.h>

#include <map>

#include "base/check.h"
#include "security/audit/test_support.h"

namespace ostal {
namespace {

using engine::FinishReason;
using engine::RequestId;

// Knows what was submitted and cancelled; the test ends sequences by hand.
class HandEngine final : public engine::Engine {
public:
    const engine::ModelInfo& info() const override { return info_; }
    const engine::Tokenizer& tokenizer() const override { CHECK_UNREACHABLE("no tokenizer"); }
    Status submit(engine::GenerationRequest request, std::shared_ptr<engine::TokenSink> sink) override {
        if (refuses) return fail(Code::kUnavailable, "full");
        sinks.emplace(request.id, std::move(sink));
        return {};
    }
    Status submit_all(std::vector<engine::Submission> submissions) override {
        for (engine::Submission& one : submissions) OSTAL_TRYV(submit(std::move(one.request), std::move(one.sink)));
        return {};
    }
    void cancel(RequestId id) override { cancelled.push_back(id); }
    engine::EngineStats stats() const override { return {}; }
    void drain(std::int64_t) override {}

    void end(RequestId id, FinishReason reason) {
        engine::TokenEvent event;
        event.finish = reason;
        const auto sink = sinks.at(id);
        sinks.erase(id);
        EXPECT_EQ(sink->push(event), engine::PushResult::kAccepted);
    }

    std::map<RequestId, std::shared_ptr<engine::TokenSink>> sinks;
    std::vector<RequestId> cancelled;
    bool refuses = false;

private:
    engine::ModelInfo info_;
};

class LastEvent final : public engine::TokenSink {
public:
    engine::PushResult push(const engine::TokenEvent& pushed) override {
        event = pushed;
        return engine::PushResult::kAccepted;
    }
    std::optional<engine::TokenEvent> event;
};

class SequenceGroupTest : public testing::Test {
protected:
    static constexpr RequestId kCount = 20;

    SequenceGroupTest() {
        audit_ = security::AuditLog::open(security::audit_test::options_of(folder_.path()), files_, clock_, log_).value();
        std::vector<RequestId> ids;
        for (RequestId id = 0; id < kCount; ++id) ids.push_back(id);
        auto record = security::audit_test::sample_record(5);
        inference_ = Inference::admit({*audit_, clock_, metrics_}, {}, ids, record).value();
    }
    ~SequenceGroupTest() override { inference_->finish(200, "stop", [](const Status&) {}); }

    Status start() {
        std::vector<engine::Submission> sequences(kCount);
        for (RequestId id = 0; id < kCount; ++id) {
            sequences[id].request.id = id;
            ends_.push_back(std::make_shared<LastEvent>());
            sequences[id].sink = ends_.back();
        }
        return SequenceGroup::start(inference_, engine_, std::move(sequences));
    }

    security::audit_test::TempFolder folder_;
    security::audit_test::UnsyncedFiles files_;
    ManualClock clock_;
    NullLog log_;
    InferenceMetrics metrics_;
    std::unique_ptr<security::AuditLog> audit_;
    std::shared_ptr<Inference> inference_;
    HandEngine engine_;
    std::vector<std::shared_ptr<LastEvent>> ends_;
};

TEST_F(SequenceGroupTest, OneFollowsForEachThatEndsWell) {
    ASSERT_TRUE(start());
    EXPECT_EQ(engine_.sinks.size(), 16U);
    engine_.end(3, FinishReason::kStop);
    EXPECT_TRUE(engine_.sinks.contains(16));
    engine_.end(16, FinishReason::kLength);
    EXPECT_TRUE(engine_.sinks.contains(17));
    while (!engine_.sinks.empty()) engine_.end(engine_.sinks.begin()->first, FinishReason::kStop);
    for (const auto& end : ends_) EXPECT_FALSE(end->event.value().error);
    EXPECT_TRUE(engine_.cancelled.empty());
}

TEST_F(SequenceGroupTest, AFailureEndsTheOthersAndNoneFollows) {
    ASSERT_TRUE(start());
    engine_.end(0, FinishReason::kError);
    EXPECT_EQ(engine_.cancelled.size(), kCount);
    engine_.end(1, FinishReason::kStop);
    EXPECT_FALSE(engine_.sinks.contains(16));
}

TEST_F(SequenceGroupTest, ARefusedFollowerIsToldAsAnEnd) {
    ASSERT_TRUE(start());
    engine_.refuses = true;
    engine_.end(0, FinishReason::kStop);
    ASSERT_TRUE(ends_[16]->event);
    EXPECT_EQ(ends_[16]->event->error->code(), Code::kUnavailable);
    EXPECT_EQ(engine_.cancelled.size(), kCount);
}

TEST_F(SequenceGroupTest, ARefusedStartSubmitsNothing) {
    engine_.refuses = true;
    EXPECT_EQ(start().error().code(), Code::kUnavailable);
    for (const auto& end : ends_) EXPECT_FALSE(end->event);
}

TEST_F(SequenceGroupTest, NoneFollowsForAClientThatLeft) {
    ASSERT_TRUE(start());
    inference_->cancel();
    engine_.end(0, FinishReason::kStop);
    EXPECT_EQ(engine_.sinks.size(), 15U);
}

TEST_F(SequenceGroupTest, AClientThatLeftBeforeIsCancelledAtOnce) {
    inference_->cancel();
    ASSERT_TRUE(start());
    EXPECT_EQ(engine_.cancelled.size(), kCount);
}

TEST_F(SequenceGroupTest, UsageIsOfAllSequences) {
    inference_->on_tokens(0, 2);
    inference_->on_tokens(1, 1);
    inference_->on_tokens(0, 5);
    inference_->on_tokens(0, 5);
    EXPECT_EQ(inference_->usage().completion_tokens, 6);
    EXPECT_EQ(inference_->usage().prompt_tokens, 5);
}

}  // namespace
}  // namespace ostal
