#include "engine/runtime/pooler.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ostal::engine {

void Pooler::take(std::int32_t position, std::span<const float> hidden) {
    CHECK_EQ(hidden.size(), sum_.size());
    if (pooling_ == Pooling::kLastToken || position == 0) {
        std::fill(sum_.begin(), sum_.end(), 0.0);
    } else {
        CHECK_EQ(position, next_);
    }
    for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += static_cast<double>(hidden[i]);
    next_ = position + 1;
}

Result<std::vector<float>> Pooler::finish() const {
    double squares = 0.0;
    for (const double value : sum_) squares += value * value;  // no overflow: sums of floats
    const double length = std::sqrt(squares);
    if (!std::isfinite(length) || length == 0.0) {
        return fail(Code::kInternal, "the model gave a hidden state that is not finite, or zero");
    }
    std::vector<float> out(sum_.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sum_[i] / length);
    return out;
}

}  // namespace ostal::engine
