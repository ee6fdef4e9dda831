// The model in double precision, straight from the papers: whole sequence at once, no cache, no blocks, no
// tiles. The beginning of the chain of oracles: naive -> scalar kernels -> vector kernels.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/io/model_config.h"

namespace ostal::test {

// The values of a tensor by its Hugging Face name (engine/io/model_files.h), row-major, half-rotation order.
using TensorValues = std::function<const std::vector<double>&(const std::string& name)>;

// Logits [T, V] after each of the T ids. `margins`, if given, gets for each (layer, token) of a mixture of
// experts the gap between the last chosen and the first rejected router logit: where it is tiny, rounding may
// choose another expert and nothing can be compared. `hidden`, if given, gets the states [T, D] after the
// final norm.
std::vector<double> naive_forward(const engine::ModelConfig& config, const TensorValues& tensor,
                                  std::span<const std::int32_t> ids, std::vector<double>* margins = nullptr,
                                  std::vector<double>* hidden = nullptr);

}  // namespace ostal::test
