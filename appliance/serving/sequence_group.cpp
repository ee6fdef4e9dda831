#include "appliance/serving/sequence_group.h"

#include <algorithm>
#include <utility>

namespace ostal {

// Hands events through and lets the next sequence follow one that ended well.
class SequenceGroup::Link final : public engine::TokenSink {
public:
    Link(std::shared_ptr<SequenceGroup> group, std::shared_ptr<engine::TokenSink> sink)
        : group_(std::move(group)), sink_(std::move(sink)) {}

    engine::PushResult push(const engine::TokenEvent& event) override {
        const engine::PushResult result = sink_->push(event);
        if (!event.finish || result != engine::PushResult::kAccepted) return result;
        const bool ended_well = *event.finish != engine::FinishReason::kCancelled &&
                                *event.finish != engine::FinishReason::kError;
        if (ended_well) {
            group_->follow();
        } else {
            group_->end();
        }
        return result;
    }

private:
    const std::shared_ptr<SequenceGroup> group_;
    const std::shared_ptr<engine::TokenSink> sink_;
};

SequenceGroup::SequenceGroup(std::shared_ptr<Inference> inference, engine::Engine& engine,
                             std::vector<engine::Submission> sequences)
    : inference_(std::move(inference)), engine_(engine), sequences_(std::move(sequences)) {
    for (const engine::Submission& sequence : sequences_) ids_.push_back(sequence.request.id);
}

Status SequenceGroup::start(std::shared_ptr<Inference> inference, engine::Engine& engine,
                            std::vector<engine::Submission> sequences) {
    const std::shared_ptr<SequenceGroup> group(
        new SequenceGroup(std::move(inference), engine, std::move(sequences)));
    std::vector<engine::Submission> first;
    // Before the engine knows the first: its end lets the next one follow.
    const std::size_t first_count = std::min(kSubmittedAtOnce, group->sequences_.size());
    group->next_ = first_count;
    for (std::size_t i = 0; i < first_count; ++i) first.push_back(group->take(i));
    OSTAL_TRYV(engine.submit_all(std::move(first)));
    // The client may have left before the engine knew them.
    if (group->inference_->cancelled()) group->end();
    return {};
}

engine::Submission SequenceGroup::take(std::size_t index) {
    engine::Submission& sequence = sequences_[index];
    return {std::move(sequence.request), std::make_shared<Link>(shared_from_this(), sequence.sink)};
}

Status SequenceGroup::submit(std::size_t index) {
    if (index >= sequences_.size() || inference_->cancelled()) return {};
    engine::Submission sequence = take(index);
    OSTAL_TRYV(engine_.submit(std::move(sequence.request), std::move(sequence.sink)));
    if (inference_->cancelled()) engine_.cancel(ids_[index]);
    return {};
}

void SequenceGroup::follow() {
    const std::size_t index = next_.fetch_add(1);
    const Status submitted = submit(index);
    if (submitted) return;
    engine::TokenEvent refused;
    refused.finish = engine::FinishReason::kCancelled;
    refused.error = submitted.error();
    (void)sequences_[index].sink->push(refused);
    end();
}

void SequenceGroup::end() {
    next_ = sequences_.size();
    for (const engine::RequestId id : ids_) engine_.cancel(id);
}

}  // namespace ostal
