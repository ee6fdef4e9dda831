// The engine: one loaded model that serves several sequences at once.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "engine/config.h"
#include "engine/io/weight_source.h"
#include "engine/model_info.h"
#include "engine/request.h"
#include "engine/token_sink.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

struct EngineStats {
    std::int64_t waiting = 0;  // requests not yet started
    std::int64_t running = 0;  // sequences with KV blocks
    std::int64_t paused = 0;   // of those, whose sink is full
    std::int64_t kv_blocks_total = 0;
    std::int64_t kv_blocks_free = 0;
    std::int64_t prompt_tokens = 0;      // prefilled since load
    std::int64_t completion_tokens = 0;  // generated since load
    std::int64_t steps = 0;
    std::int64_t preemptions = 0;  // sequences that gave their KV blocks to older ones and were recomputed
    // When the scheduler thread last began a turn. It turns at least once a second, so a value older than
    // that and the longest step means that it hangs.
    std::int64_t last_step_mono_us = 0;
};

// A request and where its events go.
struct Submission {
    GenerationRequest request;
    std::shared_ptr<TokenSink> sink;
};

// All methods are thread-safe. The destructor cancels what runs and joins the engine's threads.
class Engine {
public:
    // Reads config, tokenizer and weights from the source (several threads call source.read) and sizes every
    // buffer; the step loop does not allocate. `source` is not kept.
    // kInvalidArgument, kUnsupported (names what), kIntegrity, kIo, kResourceExhausted (memory).
    static Result<std::unique_ptr<Engine>> load(const EngineConfig& config, const WeightSource& source,
                                                const Clock& clock, LogSink& log);
    virtual ~Engine() = default;

    virtual const ModelInfo& info() const = 0;
    virtual const Tokenizer& tokenizer() const = 0;

    // Queues a request; events go to `sink` from the scheduler thread, the last one with `finish`.
    // kContextLengthExceeded (both numbers in the message), kInvalidArgument (ids or parameters out of range,
    // empty prompt; the message begins with the field's name in request.h), kUnavailable (reason "queue_full"
    // or "draining"), kConflict (the id is in use).
    virtual Status submit(GenerationRequest request, std::shared_ptr<TokenSink> sink) = 0;
    // Queues all of them, in this order, or none: the answers to one prompt (`choice` 0, 1, ...), or the
    // inputs of one call for embeddings. They are requests like others from then on: each ends, is cancelled
    // and fails by itself. Errors as submit(), the first one found; kConflict also when two have the same id;
    // kInvalidArgument for more than EngineConfig::max_queue, which would never fit.
    virtual Status submit_all(std::vector<Submission> submissions) = 0;
    // Ends the request at the next step; unknown ids are ignored.
    virtual void cancel(RequestId id) = 0;
    virtual EngineStats stats() const = 0;
    // Refuses new requests and returns when the running ones have ended or `limit_us` passed.
    virtual void drain(std::int64_t limit_us) = 0;
};

}  // namespace ostal::engine
