// Where a sequence's output goes. Implemented by the appliance (a bounded stream per request) and by tools.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/request.h"

namespace ostal::engine {

struct TokenLogProb {
    TokenId id = 0;
    double log_prob = 0.0;  // natural logarithm
};

// Of one generated token.
struct TokenLogProbs {
    double log_prob = 0.0;
    std::vector<TokenLogProb> top;  // the `top_log_probs` most likely, falling, equals by rising id
};

struct TokenEvent {
    std::string text;  // whole UTF-8 characters, never the beginning of a stop string; may be empty
    std::vector<TokenId> tokens;           // the ids generated since the last event
    std::vector<TokenLogProbs> log_probs;  // of each of `tokens`, if the request asked; else empty
    std::vector<float> embedding;          // [D], on the last event of an embedding request that went well
    // Set on the last event, exactly once per request.
    std::optional<FinishReason> finish;
    // With FinishReason::kError (kInternal: the model gave no usable logits or hidden states), and with
    // kCancelled when the caller did not ask for it: kDeadlineExceeded (the request's deadline, or the sink
    // was full too long), kUnavailable (the engine is being destroyed).
    std::optional<Error> error;
    Usage usage;  // so far
};

enum class PushResult {
    kAccepted,
    kFull,  // not taken: the sequence is paused, its KV blocks are kept, and the event is offered again
    kGone,  // the reader left: the sequence is cancelled at the next step
};

class TokenSink {
public:
    virtual ~TokenSink() = default;
    // Called on the engine's scheduler thread; never blocks and never throws. The engine drops the sink after
    // an accepted event with `finish`, after kGone, and when it refused for EngineConfig::full_sink_limit_us
    // and then the last event too (the same at the engine's destruction): then nobody is told the end.
    virtual PushResult push(const TokenEvent& event) = 0;
};

}  // namespace ostal::engine
