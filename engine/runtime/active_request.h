// A request in the engine's hands, from submit() until its last event is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/request.h"
#include "engine/runtime/pooler.h"
#include "engine/token_sink.h"
#include "engine/tokenizer/stop_matcher.h"
#include "engine/tokenizer/stream_decoder.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

// Made by the submitting thread, which also reserves all memory that decoding will need; owned by the
// scheduler thread from then on. The tokenizer outlives it.
struct ActiveRequest {
    // `dim`: of the model's hidden states.
    ActiveRequest(GenerationRequest request, std::shared_ptr<TokenSink> to, const Tokenizer& tokenizer,
                  std::int32_t dim)
        : id(request.id),
          sink(std::move(to)),
          prompt_tokens(static_cast<std::int32_t>(request.prompt.size())),
          max_tokens(request.max_tokens),
          min_tokens(request.min_tokens),
          top_log_probs(request.top_log_probs),
          sampling(std::move(request.sampling)),
          stop_tokens(std::move(request.stop_tokens)),
          ignore_eos(request.ignore_eos),
          deadline_mono_us(request.deadline_mono_us),
          tokens(std::move(request.prompt)),
          decoder(tokenizer, !request.continues_text),
          stops(std::move(request.stop)) {
        tokens.reserve(tokens.size() + static_cast<std::size_t>(max_tokens));
        decoded.reserve(kEventTextBytes);
        event.text.reserve(kEventTextBytes);
        event.tokens.reserve(kEventTokens);
        event.usage.prompt_tokens = prompt_tokens;
        if (request.embedding) pooler.emplace(*request.embedding, dim);
    }

    // An event holds one token's text but for what UTF-8 and stop strings held back: more than this is rare.
    static constexpr std::size_t kEventTextBytes = 512;
    static constexpr std::size_t kEventTokens = 64;

    const RequestId id;
    const std::shared_ptr<TokenSink> sink;
    const std::int32_t prompt_tokens;
    const std::int32_t max_tokens;
    const std::int32_t min_tokens;
    const std::optional<std::int32_t> top_log_probs;
    const SamplingParams sampling;
    const std::vector<TokenId> stop_tokens;  // the model's eos among them
    const bool ignore_eos;
    const std::int64_t deadline_mono_us;

    std::vector<TokenId> tokens;   // prompt + generated
    std::optional<Pooler> pooler;  // of an embedding request
    StreamDecoder decoder;
    std::string decoded;  // between decoder and stops; empty between two tokens
    StopMatcher stops;
    TokenEvent event;        // what the sink has not taken yet
    bool scheduled = false;  // known to the scheduler; false once it has ended
    bool started = false;    // the scheduler has admitted it
    bool sink_full = false;  // `event` was refused and is offered again
    std::int64_t full_since_us = 0;
};

}  // namespace ostal::engine
