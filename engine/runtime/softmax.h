// The vector loops under the sampler: maximum and softmax weights of a row of logits.
//
// Written in fixed lanes of plain C++, so that the compiler vectorises them for the baseline CPU, and with an
// exponential of our own: the results are the same on every machine, which those of the C library are not.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace ostal::engine {

// The index of the highest logit, the lowest among equals; nothing when one is NaN or +inf, or all are -inf.
std::optional<std::int32_t> highest_logit(std::span<const float> logits);

// weights[i] = exp((logits[i] - max) * inverse_temperature), relative error below 1e-6; zero below e^-87.
// Returns their sum. No logit is above `max`, which is finite; inverse_temperature is positive and finite.
double softmax_weights(std::span<const float> logits, float max, float inverse_temperature,
                       std::span<float> weights);

}  // namespace ostal::engine
