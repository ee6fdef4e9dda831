// From logits to the next token: a pure function of (logits, parameters, the answer so far, seed, choice,
// position).
//
// Order of application:
//   1. logit_bias: logit += bias. A token at -100 is out and one at +100 in for any logits that models give,
//      but nothing is forbidden by a special case.
//   2. penalties: logit -= presence_penalty (once) + frequency_penalty * count, for each token that occurs
//      `count` > 0 times in the answer so far; the prompt does not count. This is the definition in OpenAI's
//      API reference ("Frequency and presence penalties").
//   3. barred tokens (ends of the answer before min_tokens): logit = -inf.
//   4. temperature: logits / temperature. 0 is greedy and ends here: the highest logit, the lowest id among
//      equals.
//   5. top_k: the top_k highest logits stay (0: all); among equals the lower id.
//   6. softmax over what stayed: float weights (softmax.h), summed in double.
//   7. top_p: the shortest list of tokens, by falling probability and then rising id, whose probabilities sum
//      to at least top_p; at least one token (nucleus sampling: Holtzman et al., "The Curious Case of Neural
//      Text Degeneration", ICLR 2020, section 3.1).
//   8. min_p: of those, the tokens whose weight is at least min_p times the highest weight.
//   9. one uniform draw (philox.h, keyed by the seed, counted by choice and position) picks by cumulative
//      probability.
// Steps 1 and 2 are computed in double and rounded to float, each. The draw of a position does not depend on
// the other sequences of the batch, on how the prompt was cut into chunks, or on preemption: penalties are
// counted from the answer's tokens anew for each draw.
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

// What of a sequence bears on its next token beside the logits. Ids outside the vocabulary are ignored.
struct DrawHistory {
    std::span<const TokenId> generated;  // the answer so far, oldest first
    std::span<const TokenId> barred;     // not drawn now
};

// Owns scratch of V entries; allocates nothing after construction. Not thread-safe.
class Sampler {
public:
    explicit Sampler(std::int32_t vocab_size);

    // `logits`: [V] float32; -inf means "never". kInternal when one is NaN or +inf, or none can be drawn: the
    // model or a kernel is broken. O(V + answer), and O(n log n) in the n tokens that top_k and top_p keep.
    Result<TokenId> sample(std::span<const float> logits, const SamplingParams& params,
                           const DrawHistory& history, const DrawKey& key);

    // Log-probability of `chosen` under the model's own distribution (temperature 1, nothing added, nothing
    // cut): logit - log(sum of exp(logits)), in double. And in `top` the top.size() <= V most likely tokens,
    // falling, equals by rising id. kInternal as sample().
    Result<double> log_probs(std::span<const float> logits, TokenId chosen, std::span<TokenLogProb> top);

private:
    struct Candidate {
        float value;  // a logit, later a weight: exp((logit - max) / temperature)
        TokenId id;
    };
    static bool ranks_before(const Candidate& a, const Candidate& b);
    void take_highest(std::span<const float> logits, std::size_t count);
    std::span<const float> adjust(std::span<const float> logits, const SamplingParams& params,
                                  const DrawHistory& history);
    double cut_to_nucleus(double wanted);
    double cut_below(double least_weight);

    std::size_t vocab_size_;
    std::vector<float> adjusted_;        // [V] logits after bias, penalties and barred tokens
    std::vector<std::int32_t> counts_;   // [V] all zero but within adjust()
    std::vector<float> weights_;         // [V]
    std::vector<Candidate> candidates_;  // capacity V; what top_k and top_p left, by rank
};

}  // namespace ostal::engine
