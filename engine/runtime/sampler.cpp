#include "engine/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/runtime/philox.h"

namespace ostal::engine {
namespace {

// The id of the highest logit, the lowest among equals.
Result<TokenId> highest(std::span<const float> logits) {
    std::size_t best = 0;
    bool broken = false;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        // False for NaN and +inf alike.
        broken = broken || !(logits[i] <= std::numeric_limits<float>::max());
        if (logits[i] > logits[best]) best = i;
    }
    if (broken) return fail(Code::kInternal, "the model gave a logit that is not a number or infinite");
    if (logits[best] == -std::numeric_limits<float>::infinity()) {
        return fail(Code::kInternal, "the model gave no token a probability above zero");
    }
    return static_cast<TokenId>(best);
}

double uniform(const DrawKey& key) {
    const auto position = static_cast<std::uint64_t>(key.position);
    return philox_uniform({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32U),
                           key.choice, 0},
                          {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32U)});
}

}  // namespace

Sampler::Sampler(std::int32_t vocab_size) : vocab_size_(static_cast<std::size_t>(vocab_size)) {
    CHECK_GT(vocab_size, 0);
    candidates_.reserve(vocab_size_);
}

bool Sampler::ranks_before(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Sampler::keep_first(std::size_t n) {
    if (n >= candidates_.size()) return;
    const auto nth = candidates_.begin() + static_cast<std::ptrdiff_t>(n);
    std::nth_element(candidates_.begin(), nth, candidates_.end(), ranks_before);
    candidates_.erase(nth, candidates_.end());
}

Result<TokenId> Sampler::sample(std::span<const float> logits, const SamplingParams& params,
                                const DrawKey& key) {
    CHECK_EQ(logits.size(), vocab_size_);
    CHECK(params.temperature >= 0.0 && params.top_p > 0.0 && params.top_p <= 1.0 && params.top_k >= 0);
    OSTAL_TRY(const TokenId best, highest(logits));
    if (params.temperature == 0.0 || params.top_k == 1) return best;

    const float max = logits[static_cast<std::size_t>(best)];
    candidates_.clear();
    for (std::size_t i = 0; i < logits.size(); ++i) {
        candidates_.push_back({logits[i], static_cast<TokenId>(i), 0.0});
    }
    if (params.top_k > 0) {
        keep_first(static_cast<std::size_t>(params.top_k));
        // One order for the sums below, whatever the selection left.
        std::sort(candidates_.begin(), candidates_.end(), ranks_before);
    }
    double total = 0.0;
    for (Candidate& candidate : candidates_) {
        const double distance = static_cast<double>(candidate.logit) - static_cast<double>(max);
        candidate.weight = std::exp(distance / params.temperature);
        total += candidate.weight;
    }
    if (params.top_p < 1.0) {
        candidates_.resize(nucleus_size(params.top_p, total), Candidate{});
        total = 0.0;
        for (const Candidate& candidate : candidates_) total += candidate.weight;
    }

    const double target = uniform(key) * total;
    double sum = 0.0;
    const Candidate* last = nullptr;  // the last that can be drawn: rounding may leave `sum` below `target`
    for (const Candidate& candidate : candidates_) {
        if (candidate.weight <= 0.0) continue;
        last = &candidate;
        sum += candidate.weight;
        if (target < sum) break;
    }
    CHECK(last != nullptr);  // the best token's weight is 1
    return last->id;
}

// Sorts what the nucleus needs to the front, by rank, and says how many tokens it has.
std::size_t Sampler::nucleus_size(double top_p, double total) {
    // Tokens below (1 - top_p) / V of the mass make less than 1 - top_p together: the nucleus is without them.
    const double negligible = (1.0 - top_p) / static_cast<double>(vocab_size_) * total;
    std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < negligible; });
    const double wanted = top_p * total;
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
            sum += candidates_[i].weight;
            if (sum >= wanted) return i + 1;
        }
        if (sorted == candidates_.size()) return sorted;
    }
}

Result<double> Sampler::log_probs(std::span<const float> logits, TokenId chosen,
                                  std::span<TokenLogProb> top) {
    CHECK_EQ(logits.size(), vocab_size_);
    CHECK(chosen >= 0 && static_cast<std::size_t>(chosen) < vocab_size_);
    CHECK_LE(top.size(), vocab_size_);
    OSTAL_TRY(const TokenId best, highest(logits));
    const auto max = static_cast<double>(logits[static_cast<std::size_t>(best)]);
    double total = 0.0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit) - max);
    const double log_total = max + std::log(total);
    if (!top.empty()) {
        candidates_.clear();
        for (std::size_t i = 0; i < logits.size(); ++i) {
            candidates_.push_back({logits[i], static_cast<TokenId>(i), 0.0});
        }
        keep_first(top.size());
        std::sort(candidates_.begin(), candidates_.end(), ranks_before);
        for (std::size_t i = 0; i < top.size(); ++i) {
            top[i] = {candidates_[i].id, static_cast<double>(candidates_[i].logit) - log_total};
        }
    }
    return static_cast<double>(logits[static_cast<std::size_t>(chosen)]) - log_total;
}

}  // namespace ostal::engine
