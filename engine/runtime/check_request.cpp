#include "engine/runtime/check_request.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace ostal::engine {
namespace {

Status invalid(std::string what) { return fail(Code::kInvalidArgument, std::move(what)); }

// NaN is outside of every range.
Status check_range(const char* name, double value, double least, double most) {
    if (value >= least && value <= most) return {};
    return invalid(std::string(name) + " must be a number from " + std::to_string(static_cast<int>(least)) +
                   " to " + std::to_string(static_cast<int>(most)));
}

Status check_ids(const char* name, const std::vector<TokenId>& ids, std::int32_t vocab_size) {
    for (const TokenId id : ids) {
        if (id >= 0 && id < vocab_size) continue;
        return invalid(std::string(name) + ": token id " + std::to_string(id) +
                       " is outside the vocabulary of " + std::to_string(vocab_size));
    }
    return {};
}

Status check_logit_bias(const std::vector<LogitBias>& biases, std::int32_t vocab_size) {
    std::vector<TokenId> ids;
    for (const LogitBias& bias : biases) {
        OSTAL_TRYV(check_range("logit_bias", bias.bias, -100.0, 100.0));
        ids.push_back(bias.id);
    }
    OSTAL_TRYV(check_ids("logit_bias", ids, vocab_size));
    std::sort(ids.begin(), ids.end());
    const auto twice = std::adjacent_find(ids.begin(), ids.end());
    if (twice == ids.end()) return {};
    return invalid("logit_bias names token id " + std::to_string(*twice) + " twice");
}

Status check_sampling(const SamplingParams& sampling, std::int32_t drawable) {
    if (!std::isfinite(sampling.temperature) || sampling.temperature < 0.0) {
        return invalid("temperature must be a number of at least 0");
    }
    if (!(sampling.top_p > 0.0 && sampling.top_p <= 1.0)) {
        return invalid("top_p must be above 0 and at most 1");
    }
    if (sampling.top_k < 0) return invalid("top_k must be at least 0");
    OSTAL_TRYV(check_range("min_p", sampling.min_p, 0.0, 1.0));
    OSTAL_TRYV(check_range("presence_penalty", sampling.presence_penalty, -2.0, 2.0));
    OSTAL_TRYV(check_range("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0));
    return check_logit_bias(sampling.logit_bias, drawable);
}

Status check_generation(const GenerationRequest& request, const RequestLimits& limits) {
    if (request.max_tokens < 1) return invalid("max_tokens must be at least 1");
    if (request.min_tokens < 0 || request.min_tokens > request.max_tokens) {
        return invalid("min_tokens must be from 0 to max_tokens");
    }
    if (request.top_log_probs && (*request.top_log_probs < 0 || *request.top_log_probs > kMaxTopLogProbs)) {
        return invalid("top_log_probs must be from 0 to " + std::to_string(kMaxTopLogProbs));
    }
    OSTAL_TRYV(check_ids("stop_tokens", request.stop_tokens, std::max(limits.vocab_size, limits.drawable)));
    return check_sampling(request.sampling, limits.drawable);
}

// Nothing is drawn: what says how would be a misunderstanding.
Status check_embedding(const GenerationRequest& request) {
    const SamplingParams& sampling = request.sampling;
    const SamplingParams defaults;
    const std::pair<const char*, bool> fields[] = {
        {"max_tokens", request.max_tokens != 0},
        {"min_tokens", request.min_tokens != 0},
        {"stop", !request.stop.empty()},
        {"stop_tokens", !request.stop_tokens.empty()},
        {"continues_text", request.continues_text},
        {"ignore_eos", request.ignore_eos},
        {"top_log_probs", request.top_log_probs.has_value()},
        {"temperature", sampling.temperature != defaults.temperature},
        {"top_p", sampling.top_p != defaults.top_p},
        {"top_k", sampling.top_k != defaults.top_k},
        {"min_p", sampling.min_p != defaults.min_p},
        {"presence_penalty", sampling.presence_penalty != defaults.presence_penalty},
        {"frequency_penalty", sampling.frequency_penalty != defaults.frequency_penalty},
        {"logit_bias", !sampling.logit_bias.empty()},
        {"seed", sampling.seed != defaults.seed},
        {"choice", sampling.choice != defaults.choice},
    };
    for (const auto& [name, set] : fields) {
        if (set) return invalid(std::string(name) + " must not be set: an embedding generates nothing");
    }
    return {};
}

}  // namespace

Status check_request(const GenerationRequest& request, const RequestLimits& limits) {
    if (request.prompt.empty()) return invalid("prompt has no tokens");
    OSTAL_TRYV(check_ids("prompt", request.prompt, limits.vocab_size));
    if (request.deadline_mono_us < 0) return invalid("deadline_mono_us must be at least 0");
    OSTAL_TRYV(request.embedding ? check_embedding(request) : check_generation(request, limits));
    const auto prompt_tokens = static_cast<std::int64_t>(request.prompt.size());
    if (prompt_tokens + request.max_tokens > limits.context_length) {
        return fail(Code::kContextLengthExceeded,
                    "the model's context is " + std::to_string(limits.context_length) + " tokens, but " +
                        std::to_string(prompt_tokens + request.max_tokens) + " were asked for (" +
                        std::to_string(prompt_tokens) + " in the prompt, " +
                        std::to_string(request.max_tokens) + " to generate)");
    }
    return {};
}

}  // namespace ostal::engine
