// The sequences that answer one request: several choices, several prompts, several texts to embed.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "appliance/serving/inference.h"
#include "engine/engine.h"

namespace ostal {

// Submits at most a few of its sequences at once, so that one request with many of them leaves the engine's queue
// to others; each that ends well lets the next one follow, on the scheduler thread. One that fails ends
// the others. Thread-safe; kept alive by the sinks that the engine holds.
class SequenceGroup : public std::enable_shared_from_this<SequenceGroup> {
public:
    static constexpr std::size_t kSubmittedAtOnce = 16;

    // Submits the first sequences, all or none. `engine` outlives every call of a sink, as engines do. The engine's
    // own error when it refuses them.
    static Status start(std::shared_ptr<Inference> inference, engine::Engine& engine,
                        std::vector<engine::Submission> sequences);

private:
    class Link;
    SequenceGroup(std::shared_ptr<Inference> inference, engine::Engine& engine,
                  std::vector<engine::Submission> sequences);
    // The sequence's request, with a link to this group before its sink.
    engine::Submission take(std::size_t index);
    Status submit(std::size_t index);
    // On the scheduler thread: submits the next one, if there is one; its sink is told a refusal.
    void follow();
    // On the scheduler thread: cancels what runs and lets none follow.
    void end();

    const std::shared_ptr<Inference> inference_;
    engine::Engine& engine_;
    std::vector<engine::Submission> sequences_;  // an element is touched by who took its index from next_
    std::vector<engine::RequestId> ids_;
    std::atomic<std::size_t> next_{0};
};

}  // namespace ostal
