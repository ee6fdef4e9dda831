// What a caller asks of the engine, and how it ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ostal::engine {

using TokenId = std::int32_t;
using RequestId = std::uint64_t;  // unique for the life of the process; chosen by the caller

// Added to the logit of one token before anything else.
struct LogitBias {
    TokenId id = 0;
    double bias = 0.0;  // [-100, 100]
};

// Order of application: logit_bias, penalties, temperature, top_k, top_p, min_p (runtime/sampler.h).
// temperature 0 is greedy: the highest logit after bias and penalties, the lowest id among equals.
struct SamplingParams {
    double temperature = 0.0;           // >= 0
    double top_p = 1.0;                 // (0, 1]
    std::int32_t top_k = 0;             // 0: no limit
    double min_p = 0.0;                 // [0, 1]: what is less likely than min_p times the most likely goes
    double presence_penalty = 0.0;      // [-2, 2], taken from a token's logit once it was generated
    double frequency_penalty = 0.0;     // [-2, 2], taken from it as often as it was generated
    std::vector<LogitBias> logit_bias;  // each id once
    // The random number of a draw depends on (seed, choice, position) alone. Several answers to one prompt
    // are as many requests that differ in id and `choice` (0, 1, ...; Engine::submit_all).
    std::uint64_t seed = 0;
    std::uint32_t choice = 0;
};

// How the hidden states of a prompt become one vector (embeddings).
enum class Pooling { kMean, kLastToken };

struct GenerationRequest {
    RequestId id = 0;
    std::vector<TokenId> prompt;  // not empty; includes bos
    std::int32_t max_tokens = 0;  // new tokens, >= 1; prompt + max_tokens <= context length
    SamplingParams sampling;
    std::vector<std::string> stop;      // the text ends before the first of these; none is returned
    std::vector<TokenId> stop_tokens;   // ends of turn, beside the model's eos
    std::int64_t deadline_mono_us = 0;  // by the engine's Clock; 0: none
    // The answer goes on in the middle of the prompt's text (plain completion, an assistant message given as
    // prefix): a leading space of SentencePiece's stays then. False: the answer is a text of its own.
    bool continues_text = false;
    bool ignore_eos = false;  // for measurements: only max_tokens and stop strings end the answer
    // eos and stop tokens are not drawn while fewer were generated; a stop string still ends. <= max_tokens
    std::int32_t min_tokens = 0;
    // Log-probabilities of each generated token and of its `*top_log_probs` most likely rivals (0 to
    // kMaxTopLogProbs), under the model's own distribution: before bias, penalties and temperature.
    std::optional<std::int32_t> top_log_probs;
    // The request is for an embedding: nothing is generated, max_tokens is 0, and the last event carries the
    // pooled hidden state after the final norm, scaled to length 1. All fields that say how to generate
    // (sampling, stop, ...) stay at their defaults.
    std::optional<Pooling> embedding;
};

inline constexpr std::int32_t kMaxTopLogProbs = 20;

enum class FinishReason {
    kStop,       // eos, a stop token or a stop string
    kLength,     // max_tokens or the context's end
    kCancelled,  // cancel(), deadline, or the sink said gone
    kError,
};
std::string_view finish_reason_name(FinishReason reason);  // "stop" "length" "cancelled" "error"

struct Usage {
    std::int32_t prompt_tokens = 0;
    std::int32_t completion_tokens = 0;  // tokens generated, the ending one included
};

}  // namespace ostal::engine
