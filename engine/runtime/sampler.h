// From logits to the next token: a pure function of (logits, parameters, seed, choice, position).
//
// Order of application:
//   1. temperature: logits / temperature. 0 is greedy and ends here: the highest logit, the lowest id among
//      equals.
//   2. top_k: the top_k highest logits stay (0: all); among equals the lower id.
//   3. softmax over what stayed: float weights (softmax.h), summed in double.
//   4. top_p: the shortest list of tokens, by falling probability and then rising id, whose probabilities sum
//      to at least top_p; at least one token (nucleus sampling: Holtzman et al., "The Curious Case of Neural
//      Text Degeneration", ICLR 2020, section 3.1).
//   5. one uniform draw (philox.h, keyed by the seed, counted by choice and position) picks by cumulative
//      probability.
// The draw of a position does not depend on the other sequences of the batch, on how the prompt was cut into
// chunks, or on preemption.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "engine/token_sink.h"

namespace ostal::engine {

struct DrawKey {
    std::uint64_t seed = 0;
    std::uint32_t choice = 0;   // which of a request's answers
    std::int64_t position = 0;  // of the new token in prompt + answer
};

// Owns scratch of V entries; allocates nothing after construction. Not thread-safe.
class Sampler {
public:
    explicit Sampler(std::int32_t vocab_size);

    // `logits`: [V] float32; -inf means "never". kInternal when one is NaN or +inf, or all are -inf: the
    // model or a kernel is broken. O(V), and O(n log n) in the n tokens that top_k and top_p keep.
    Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params, const DrawKey& key);

    // Log-probability of `chosen` under the model's own distribution (temperature 1, nothing cut), and in
    // `top` the top.size() most likely tokens, falling, equals by rising id; exact to 1e-6. kInternal as
    // sample().
    Result<double> log_probs(std::span<const float> logits, TokenId chosen, std::span<TokenLogProb> top);

private:
    struct Candidate {
        float value;  // a logit, later a weight: exp((logit - max) / temperature)
        TokenId id;
    };
    static bool ranks_before(const Candidate& a, const Candidate& b);
    void take_highest(std::span<const float> logits, std::size_t count);
    double cut_to_nucleus(double wanted);

    std::size_t vocab_size_;
    std::vector<float> weights_;         // [V]
    std::vector<Candidate> candidates_;  // capacity V; what top_k and top_p left, by rank
};

}  // namespace ostal::engine
