#include "engine/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/runtime/philox.h"
#include "engine/runtime/softmax.h"

namespace ostal::engine {
namespace {

Result<TokenId> highest(std::span<const float> logits) {
    if (const auto best = highest_logit(logits)) return *best;
    return fail(Code::kInternal, "the model gave a logit that is not a number or infinite, or no finite one");
}

double uniform(const DrawKey& key) {
    const auto position = static_cast<std::uint64_t>(key.position);
    return philox_uniform(
        {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32U), key.choice, 0},
        {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32U)});
}

// Picks from a list of weights by one uniform draw: weight(i) and id(i) for i in [0, count).
template <typename Weight, typename Id>
TokenId pick(std::size_t count, double target, Weight weight, Id id) {
    double sum = 0.0;
    TokenId last = -1;  // the last that can be drawn: rounding may leave `sum` below `target`
    for (std::size_t i = 0; i < count; ++i) {
        if (weight(i) <= 0.0F) continue;
        last = id(i);
        sum += static_cast<double>(weight(i));
        if (target < sum) break;
    }
    CHECK_GE(last, 0);  // the best token's weight is 1
    return last;
}

}  // namespace

Sampler::Sampler(std::int32_t vocab_size) : vocab_size_(static_cast<std::size_t>(vocab_size)) {
    CHECK_GT(vocab_size, 0);
    adjusted_.resize(vocab_size_);
    counts_.resize(vocab_size_, 0);
    weights_.resize(vocab_size_);
    candidates_.reserve(vocab_size_);
}

bool Sampler::ranks_before(const Candidate& a, const Candidate& b) {
    return a.value != b.value ? a.value > b.value : a.id < b.id;
}

void Sampler::take_highest(std::span<const float> logits, std::size_t count) {
    candidates_.clear();
    // A heap of the best so far, the worst of them on top: after the first of the row hardly any enters it.
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const Candidate candidate{logits[i], static_cast<TokenId>(i)};
        if (candidates_.size() < count) {
            candidates_.push_back(candidate);
            std::push_heap(candidates_.begin(), candidates_.end(), ranks_before);
        } else if (candidate.value > candidates_.front().value) {  // among equals the earlier id stays
            std::pop_heap(candidates_.begin(), candidates_.end(), ranks_before);
            candidates_.back() = candidate;
            std::push_heap(candidates_.begin(), candidates_.end(), ranks_before);
        }
    }
    std::sort_heap(candidates_.begin(), candidates_.end(), ranks_before);
}

// The logits after bias, penalties and barred tokens; the model's own when there are none.
std::span<const float> Sampler::adjust(std::span<const float> logits, const SamplingParams& params,
                                       const DrawHistory& history) {
    const bool penalised = params.presence_penalty != 0.0 || params.frequency_penalty != 0.0;
    if (params.logit_bias.empty() && !penalised && history.barred.empty()) return logits;
    const auto known = [&](TokenId id) { return id >= 0 && static_cast<std::size_t>(id) < vocab_size_; };
    const auto add = [&](std::size_t id, double term) {
        adjusted_[id] = static_cast<float>(static_cast<double>(adjusted_[id]) + term);
    };
    std::copy(logits.begin(), logits.end(), adjusted_.begin());
    for (const LogitBias& bias : params.logit_bias) {
        if (known(bias.id)) add(static_cast<std::size_t>(bias.id), bias.bias);
    }
    if (penalised) {
        for (const TokenId id : history.generated) {
            if (known(id)) ++counts_[static_cast<std::size_t>(id)];
        }
        for (const TokenId id : history.generated) {
            if (!known(id)) continue;
            std::int32_t& count = counts_[static_cast<std::size_t>(id)];
            if (count == 0) continue;  // done at its first occurrence
            add(static_cast<std::size_t>(id), -(params.presence_penalty + params.frequency_penalty * count));
            count = 0;
        }
    }
    for (const TokenId id : history.barred) {
        if (known(id)) adjusted_[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
    }
    return adjusted_;
}

Result<TokenId> Sampler::sample(std::span<const float> model_logits, const SamplingParams& params,
                                const DrawHistory& history, const DrawKey& key) {
    CHECK_EQ(model_logits.size(), vocab_size_);
    CHECK(params.temperature >= 0.0 && params.top_p > 0.0 && params.top_p <= 1.0 && params.top_k >= 0);
    CHECK(params.min_p >= 0.0 && params.min_p <= 1.0);
    const std::span<const float> logits = adjust(model_logits, params, history);
    OSTAL_TRY(const TokenId best, highest(logits));
    if (params.temperature == 0.0 || params.top_k == 1) return best;

    const float max = logits[static_cast<std::size_t>(best)];
    // Bounded, so that a tiny temperature is a sharp choice and not 0 * infinity.
    const auto inverse_temperature = static_cast<float>(std::min(1.0 / params.temperature, 1e30));
    const bool cut_by_k = params.top_k > 0 && static_cast<std::size_t>(params.top_k) < vocab_size_;
    double total = 0.0;
    if (cut_by_k) {
        take_highest(logits, static_cast<std::size_t>(params.top_k));
        const std::span<float> weights = std::span(weights_).first(candidates_.size());
        for (std::size_t i = 0; i < candidates_.size(); ++i) weights[i] = candidates_[i].value;
        total = softmax_weights(weights, max, inverse_temperature, weights);
        for (std::size_t i = 0; i < candidates_.size(); ++i) candidates_[i].value = weights[i];
    } else {
        total = softmax_weights(logits, max, inverse_temperature, weights_);
        if (params.top_p == 1.0 && params.min_p == 0.0) {
            return pick(
                vocab_size_, uniform(key) * total, [&](std::size_t i) { return weights_[i]; },
                [](std::size_t i) { return static_cast<TokenId>(i); });
        }
        // Tokens below (1 - top_p) / V of the mass make less than 1 - top_p together: the nucleus is without
        // them. With top_p 1 this is 0: all stay.
        const auto negligible =
            static_cast<float>((1.0 - params.top_p) / static_cast<double>(vocab_size_) * total * 0.999);
        candidates_.clear();
        for (std::size_t i = 0; i < vocab_size_; ++i) {
            if (weights_[i] >= negligible) candidates_.push_back({weights_[i], static_cast<TokenId>(i)});
        }
    }
    if (params.top_p < 1.0) total = cut_to_nucleus(params.top_p * total);
    if (params.min_p > 0.0) total = cut_below(params.min_p);
    return pick(
        candidates_.size(), uniform(key) * total, [&](std::size_t i) { return candidates_[i].value; },
        [&](std::size_t i) { return candidates_[i].id; });
}

// Leaves the candidates (their values are weights) of the nucleus, by rank, and returns their sum.
double Sampler::cut_to_nucleus(double wanted) {
    // Growing prefixes: a nucleus is mostly short, sorting the whole vocabulary is dear.
    for (std::size_t prefix = 64;; prefix *= 8) {
        const std::size_t sorted = std::min(prefix, candidates_.size());
        const auto border = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
        if (sorted < candidates_.size()) {
            std::nth_element(candidates_.begin(), border, candidates_.end(), ranks_before);
        }
        std::sort(candidates_.begin(), border, ranks_before);
        double sum = 0.0;
        for (std::size_t i = 0; i < sorted; ++i) {
            sum += static_cast<double>(candidates_[i].value);
            if (sum >= wanted || i + 1 == candidates_.size()) {
                candidates_.resize(i + 1);
                return sum;
            }
        }
    }
}

// Leaves the candidates of at least this weight, in their order, and returns their sum. The highest weight is
// exactly 1.
double Sampler::cut_below(double least_weight) {
    std::erase_if(candidates_,
                  [&](const Candidate& c) { return static_cast<double>(c.value) < least_weight; });
    double sum = 0.0;
    for (const Candidate& candidate : candidates_) sum += static_cast<double>(candidate.value);
    return sum;
}

Result<double> Sampler::log_probs(std::span<const float> logits, TokenId chosen,
                                  std::span<TokenLogProb> top) {
    CHECK_EQ(logits.size(), vocab_size_);
    CHECK(chosen >= 0 && static_cast<std::size_t>(chosen) < vocab_size_);
    CHECK_LE(top.size(), vocab_size_);
    OSTAL_TRY(const TokenId best, highest(logits));
    const auto max = static_cast<double>(logits[static_cast<std::size_t>(best)]);
    double total = 0.0;
    for (const float logit : logits) {
        // What is e^-60 of the highest is lost to rounding in a sum of even 2^30 of them.
        const double below = static_cast<double>(logit) - max;
        if (below > -60.0) total += std::exp(below);
    }
    const double log_total = max + std::log(total);
    if (!top.empty()) {
        take_highest(logits, top.size());
        for (std::size_t i = 0; i < top.size(); ++i) {
            top[i] = {candidates_[i].id, static_cast<double>(candidates_[i].value) - log_total};
        }
    }
    return static_cast<double>(logits[static_cast<std::size_t>(chosen)]) - log_total;
}

}  // namespace ostal::engine
