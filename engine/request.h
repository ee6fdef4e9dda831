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

// Order of application: temperature, top_k, top_p (runtime/sampler.h). temperature 0 is greedy: the highest
// logit, the lowest id among equals.
struct SamplingParams {
    double temperature = 0.0;  // >= 0
    double top_p = 1.0;        // (0, 1]
    std::int32_t top_k = 0;    // 0: no limit
    std::uint64_t seed = 0;    // the draw at a position depends on (seed, choice, position) alone
};

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
};

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
