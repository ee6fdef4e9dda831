// The hidden states of a prompt, pooled to one vector of length 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/request.h"

namespace ostal::engine {

// Takes the prompt's hidden states one by one and keeps D numbers, whatever the prompt's length. Sums are in
// double and in the order of positions, so the result is the same to the bit however the prompt was cut into
// steps and whoever shared them: a hidden state depends on its own sequence alone (contracts: fixed reduction
// order). Not thread-safe.
class Pooler {
public:
    Pooler(Pooling pooling, std::int32_t dim) : pooling_(pooling), sum_(static_cast<std::size_t>(dim)) {}

    // Whether take() of the hidden state at `position` would change the result.
    bool wants(std::int32_t position, std::int32_t prompt_tokens) const {
        return pooling_ == Pooling::kMean || position + 1 == prompt_tokens;
    }
    // The hidden state [D] at `position`. Positions wanted come in order; position 0 (a recomputation after
    // preemption) starts anew.
    void take(std::int32_t position, std::span<const float> hidden);
    // The sum, which has the direction of the mean, scaled to Euclidean length 1. kInternal when it holds NaN
    // or infinities, or is zero. Call once.
    Result<std::vector<float>> finish() const;

private:
    const Pooling pooling_;
    std::int32_t next_ = 0;    // position, for the mean
    std::vector<double> sum_;  // [D]
};

}  // namespace ostal::engine
