// The loop that serves: one thread that reads the inbox, asks the scheduler, runs the model, samples, turns
// tokens into text and hands events to the sinks, over and over.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "base/thread.h"
#include "engine/engine.h"
#include "engine/model/batch.h"
#include "engine/runtime/active_request.h"
#include "engine/runtime/block_pool.h"
#include "engine/runtime/inbox.h"
#include "engine/runtime/sampler.h"
#include "engine/runtime/scheduler.h"
#include "engine/runtime/step_model.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

struct StepLoopOptions {
    std::int32_t vocab_size = 0;      // V of the logits
    std::int32_t dim = 0;             // D of the hidden states
    std::int32_t context_length = 0;  // prompt + generated; at most kv_blocks * kv_block_tokens
    std::int32_t max_sequences = 0;
    std::int32_t max_queue = 0;
    std::int32_t step_token_budget = 0;
    std::int32_t kv_blocks = 0;
    std::int32_t kv_block_tokens = 0;
    std::int64_t full_sink_limit_us = 0;
    std::vector<TokenId> eos;  // any of them ends a sequence
};

// The thread is "ost-sched". On a CPU it is also the rank's thread and member 0 of its team: between two
// steps the team has nothing to do, and a step needs the plan, so a thread of its own would only add two
// hand-overs a step. It owns the scheduler, the block pool, the table of requests, stop strings, detokenising
// and finish reasons, and takes no lock but the inbox's. A step in which nobody joins or ends allocates
// nothing, once a sequence's decoder has met its longest token; but log-probabilities are allocated.
//
// An embedding is a prefill whose hidden states are pooled as they come and whose logits nobody wants. It
// shares steps with generation and ends with its last chunk.
//
// In one turn: mail, events that sinks refused, deadlines and full sinks, then a step. A cancellation thus
// takes effect before the next step, wherever its request is: queued, in prefill, decoding or paused. When no
// sequence can run, the thread waits for mail: a second at most, and 2 ms at most while a sink is full.
class StepLoop {
public:
    // Starts the thread. `model`, `tokenizer`, `clock` and `log` outlive the loop. CHECK: options as stated.
    StepLoop(StepLoopOptions options, StepModel& model, const Tokenizer& tokenizer, const Clock& clock,
             LogSink& log);
    // Ends the requests alive with kCancelled and joins the thread.
    ~StepLoop();
    StepLoop(const StepLoop&) = delete;
    StepLoop& operator=(const StepLoop&) = delete;

    // Engine's methods of these names.
    Status submit(GenerationRequest request, std::shared_ptr<TokenSink> sink);
    Status submit_all(std::vector<Submission> submissions);
    void cancel(RequestId id) { inbox_.cancel(id); }
    EngineStats stats() const;
    void drain(std::int64_t limit_us);

private:
    Result<std::unique_ptr<ActiveRequest>> accept(Submission submission) const;

    // All below runs on the scheduler thread.
    void run();
    void read_mail();
    void offer_refused_events();
    void enforce_limits(std::int64_t now_us);
    void run_step(const StepPlan& plan);
    void pool_hidden(const StepPlan& plan, const View& hidden);
    void finish_embedding(SlotId slot);
    void take_token(SlotId slot, const Logits& logits, std::int64_t row);
    Result<TokenId> draw(ActiveRequest& active, const Logits& logits, std::int64_t row);
    void end_broken(SlotId slot, Error error);
    void end(SlotId slot, FinishReason reason, std::optional<Error> error = std::nullopt);
    void offer(SlotId slot);
    void unschedule(SlotId slot);
    void release(SlotId slot);
    void end_all();
    void publish();
    ActiveRequest& request(SlotId slot) { return *requests_[static_cast<std::size_t>(slot)]; }

    const StepLoopOptions options_;
    const std::int32_t drawable_;  // V without padding: what is sampled from
    StepModel& model_;
    const Tokenizer& tokenizer_;
    const Clock& clock_;
    LogSink& log_;

    Inbox inbox_;
    BlockPool pool_;
    Scheduler scheduler_;
    Sampler sampler_;
    BatchBuilder batch_;
    Mail mail_;
    std::vector<std::unique_ptr<ActiveRequest>> requests_;  // by slot
    std::vector<SlotId> free_slots_;
    std::vector<SlotId> sampled_;  // slots of the step's logit rows
    std::vector<SlotId> pooled_;   // slots whose whole prompt the step has finished embedding
    std::int32_t refused_ = 0;     // requests with a full sink
    std::uint64_t broken_outputs_ = 0;

    // Written by the scheduler thread, read by stats().
    struct Published {
        std::atomic<std::int64_t> waiting{0};
        std::atomic<std::int64_t> running{0};
        std::atomic<std::int64_t> paused{0};
        std::atomic<std::int64_t> kv_blocks_free{0};
        std::atomic<std::int64_t> prompt_tokens{0};
        std::atomic<std::int64_t> completion_tokens{0};
        std::atomic<std::int64_t> steps{0};
        std::atomic<std::int64_t> preemptions{0};
        std::atomic<std::int64_t> last_step_mono_us{0};
    } published_;

    NamedThread thread_;  // last: it uses all of the above
};

}  // namespace ostal::engine
