// Communicator: what the ranks of one model exchange. forward() runs on every rank over its shard (SPMD); the
// ranks meet here and nowhere else.
#pragma once

#include <cstdint>

#include "engine/core/view.h"

namespace ostal::engine {

// Called by the rank's own thread, by all ranks in the same order.
class Communicator {
public:
    virtual ~Communicator() = default;
    virtual std::int32_t rank() const = 0;
    virtual std::int32_t world_size() const = 0;
    // x [T, D] f32 becomes the sum over the ranks, added in the order of the ranks.
    virtual void all_reduce(const View& x) = 0;
};

// One rank: it holds the whole model, so every sum is its own.
class SingleComm final : public Communicator {
public:
    std::int32_t rank() const override { return 0; }
    std::int32_t world_size() const override { return 1; }
    void all_reduce(const View&) override {}
};

}  // namespace ostal::engine
