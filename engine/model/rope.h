// The frequencies of RoPE and what YaRN does to the scores, from a configuration.
//
// The plain frequencies are f_i = theta^(-2i / Dh) (Su et al., "RoFormer" (2021), section 3.2.2), in radians
// a token. The scalings, s being the factor and C the original context:
//   linear    f_i / s (Chen et al., "Extending Context Window ... via Positional Interpolation" (2023), eq.
//   4) dynamic   f_i: its formula, theta (s L / C - s + 1)^(Dh / (Dh - 2)) for a length L above C, gives the
//   plain
//             ones up to C, and no sequence is longer (docs/adr/0012)
//   yarn      f_i / s where i turns less than beta_slow times within C, f_i where it turns more than
//   beta_fast
//             times, a ramp over i between (Peng et al., "YaRN" (2023), section 3.2, with the ends of the
//             ramp at the i that turns so often, as its authors' code and transformers'
//             modeling_rope_utils.py do)
//   llama3    f_i / s for wavelengths above C / low, f_i for those below C / high, between them a mixture
//   that
//             is linear in C / wavelength (transformers, modeling_rope_utils.py, llama3)
//   divisors  f_i / d_i (the tensor rope_freqs.weight; ggml's rope with frequency factors)
#pragma once

#include <span>
#include <vector>

#include "engine/io/model_config.h"

namespace ostal::engine {

// [Dh / 2] radians a token. `divisors` has as many values for RopeKind::kDivisors, else none: CHECK.
std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> divisors);

// What q k is multiplied with before the softmax: 1 / sqrt(Dh), times the square of YaRN's attention factor,
// which its authors put on the cosines and sines of both q and k.
float attention_scale(const ModelConfig& config);

}  // namespace ostal::engine
