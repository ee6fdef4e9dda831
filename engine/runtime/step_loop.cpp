#include "engine/runtime/step_loop.h"

#include <algorithm>
#include <bit>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "engine/runtime/check_request.h"

namespace ostal::engine {
namespace {

constexpr std::int64_t kIdleWaitUs = 1'000'000;
// While a sink is full: how soon its reader can go on, against waking up for nothing.
constexpr std::int64_t kFullSinkWaitUs = 2'000;

SchedulerLimits scheduler_limits(const StepLoopOptions& options) {
    SchedulerLimits limits;
    limits.max_requests = options.max_queue + options.max_sequences;
    limits.max_waiting = options.max_queue;
    limits.max_sequences = options.max_sequences;
    limits.step_token_budget = options.step_token_budget;
    limits.block_tokens = options.kv_block_tokens;
    limits.max_sequence_tokens = options.context_length;
    return limits;
}

void store(std::atomic<std::int64_t>& to, std::int64_t value) { to.store(value, std::memory_order_relaxed); }
// One writer: a plain addition.
void add(std::atomic<std::int64_t>& to, std::int64_t value) {
    store(to, to.load(std::memory_order_relaxed) + value);
}

// Token to text that may go out. Nothing is allocated: all strings keep their memory.
void push_text(ActiveRequest& active, TokenId token) {
    active.decoder.push(token, active.decoded);
    active.stops.push(active.decoded, active.event.text);
    active.decoded.clear();
}

}  // namespace

StepLoop::StepLoop(StepLoopOptions options, StepModel& model, const Tokenizer& tokenizer, const Clock& clock,
                   LogSink& log)
    : options_(std::move(options)),
      drawable_(std::min(options_.vocab_size, tokenizer.vocab_size())),
      model_(model),
      tokenizer_(tokenizer),
      clock_(clock),
      log_(log),
      inbox_(options_.max_queue, options_.max_queue + options_.max_sequences),
      pool_(options_.kv_blocks),
      scheduler_(scheduler_limits(options_), pool_),
      sampler_(drawable_),
      batch_(options_.max_sequences + options_.step_token_budget, options_.max_sequences,
             (options_.context_length + options_.kv_block_tokens - 1) / options_.kv_block_tokens) {
    const auto slots = static_cast<std::size_t>(options_.max_queue + options_.max_sequences);
    requests_.resize(slots);
    for (std::size_t slot = slots; slot > 0; --slot) free_slots_.push_back(static_cast<SlotId>(slot - 1));
    sampled_.reserve(static_cast<std::size_t>(options_.max_sequences));
    pooled_.reserve(static_cast<std::size_t>(options_.max_sequences));
    store(published_.last_step_mono_us, clock_.mono_now_us());
    publish();
    thread_ = NamedThread("ost-sched", [this] { run(); });
}

StepLoop::~StepLoop() {
    inbox_.stop();
    thread_.join();
}

Status StepLoop::submit(GenerationRequest request, std::shared_ptr<TokenSink> sink) {
    OSTAL_TRY(auto accepted, accept({std::move(request), std::move(sink)}));
    return inbox_.submit(std::move(accepted));
}

Status StepLoop::submit_all(std::vector<Submission> submissions) {
    std::vector<std::unique_ptr<ActiveRequest>> accepted;
    for (Submission& submission : submissions) {
        OSTAL_TRY(auto one, accept(std::move(submission)));
        accepted.push_back(std::move(one));
    }
    return inbox_.submit(std::move(accepted));
}

Result<std::unique_ptr<ActiveRequest>> StepLoop::accept(Submission submission) const {
    CHECK(submission.sink != nullptr);
    GenerationRequest& request = submission.request;
    OSTAL_TRYV(check_request(request, {options_.vocab_size, drawable_, options_.context_length}));
    request.stop_tokens.insert(request.stop_tokens.end(), options_.eos.begin(), options_.eos.end());
    return std::make_unique<ActiveRequest>(std::move(request), std::move(submission.sink), tokenizer_,
                                           options_.dim);
}

void StepLoop::drain(std::int64_t limit_us) {
    inbox_.close();
    (void)inbox_.wait_until_idle(clock_, limit_us);
}

EngineStats StepLoop::stats() const {
    const auto load = [](const std::atomic<std::int64_t>& from) {
        return from.load(std::memory_order_relaxed);
    };
    EngineStats stats;
    stats.waiting = load(published_.waiting) + inbox_.untaken();
    stats.running = load(published_.running);
    stats.paused = load(published_.paused);
    stats.kv_blocks_total = options_.kv_blocks;
    stats.kv_blocks_free = load(published_.kv_blocks_free);
    stats.prompt_tokens = load(published_.prompt_tokens);
    stats.completion_tokens = load(published_.completion_tokens);
    stats.steps = load(published_.steps);
    stats.preemptions = load(published_.preemptions);
    stats.last_step_mono_us = load(published_.last_step_mono_us);
    return stats;
}

void StepLoop::run() {
    model_.attach_thread();
    std::int64_t wait_us = 0;
    while (true) {
        inbox_.take(mail_, wait_us);
        if (mail_.stop) break;
        const std::int64_t now_us = clock_.mono_now_us();
        store(published_.last_step_mono_us, now_us);
        read_mail();
        if (refused_ > 0) offer_refused_events();
        enforce_limits(now_us);
        const StepPlan& plan = scheduler_.plan();
        if (plan.sequences.empty()) {
            scheduler_.step_finished();
            wait_us = refused_ > 0 || scheduler_.waiting() > 0 ? kFullSinkWaitUs : kIdleWaitUs;
        } else {
            run_step(plan);
            wait_us = 0;
        }
        publish();
    }
    end_all();
}

void StepLoop::read_mail() {
    for (auto& submitted : mail_.submitted) {
        const SlotId slot = free_slots_.back();
        free_slots_.pop_back();
        // The inbox counts a request as unstarted for at least as long as the scheduler does.
        CHECK(scheduler_.submit(slot, submitted->prompt_tokens));
        submitted->scheduled = true;
        requests_[static_cast<std::size_t>(slot)] = std::move(submitted);
    }
    for (const RequestId id : mail_.cancelled) {
        const auto found = std::find_if(requests_.begin(), requests_.end(), [&](const auto& candidate) {
            return candidate && candidate->id == id;
        });
        // One that has ended already only waits for its sink to take the last event.
        if (found == requests_.end() || !(*found)->scheduled) continue;
        end(static_cast<SlotId>(found - requests_.begin()), FinishReason::kCancelled);
    }
}

void StepLoop::offer_refused_events() {
    for (std::size_t slot = 0; slot < requests_.size(); ++slot) {
        if (requests_[slot] && requests_[slot]->sink_full) offer(static_cast<SlotId>(slot));
    }
}

void StepLoop::enforce_limits(std::int64_t now_us) {
    for (std::size_t i = 0; i < requests_.size(); ++i) {
        if (!requests_[i]) continue;
        const auto slot = static_cast<SlotId>(i);
        const ActiveRequest& active = *requests_[i];
        const bool too_late = active.deadline_mono_us != 0 && now_us >= active.deadline_mono_us;
        const bool too_full =
            active.sink_full && now_us - active.full_since_us >= options_.full_sink_limit_us;
        if (active.scheduled && (too_late || too_full)) {
            end(slot, FinishReason::kCancelled,
                Error(Code::kDeadlineExceeded, too_late ? "the request's deadline has passed"
                                                        : "the reader took nothing for too long"));
        }
        if (too_full && requests_[i]) release(slot);  // the last event was offered in this turn
    }
}

void StepLoop::run_step(const StepPlan& plan) {
    batch_.clear();
    sampled_.clear();
    pooled_.clear();
    for (const PlannedSequence& sequence : plan.sequences) {
        ActiveRequest& active = request(sequence.slot);
        if (!active.started) {
            active.started = true;
            inbox_.note_started();
        }
        const std::span<const TokenId> tokens =
            std::span<const TokenId>(active.tokens)
                .subspan(static_cast<std::size_t>(sequence.first_position),
                         static_cast<std::size_t>(sequence.token_count));
        const std::int32_t end_position = sequence.first_position + sequence.token_count;
        const bool sampled = sequence.sample && !active.pooler;
        // Of a chunk's positions the last is wanted if any is.
        const bool pooled = active.pooler && active.pooler->wants(end_position - 1, active.prompt_tokens);
        batch_.add(tokens, sequence.first_position, sequence.blocks,
                   sampled ? WantLogits::kLast : WantLogits::kNone, pooled);
        if (sampled) sampled_.push_back(sequence.slot);
        const std::int32_t of_prompt = std::min(end_position, active.prompt_tokens) - sequence.first_position;
        add(published_.prompt_tokens, std::max(of_prompt, 0));
    }
    const StepOutput output = model_.forward(batch_.batch());
    pool_hidden(plan, output.hidden);
    scheduler_.step_finished();
    add(published_.steps, 1);
    for (std::size_t row = 0; row < sampled_.size(); ++row) {
        take_token(sampled_[row], output.logits, static_cast<std::int64_t>(row));
    }
    for (const SlotId slot : pooled_) finish_embedding(slot);
}

// Rows of `hidden` follow each other as the plan's sequences do.
void StepLoop::pool_hidden(const StepPlan& plan, const View& hidden) {
    const auto dim = static_cast<std::size_t>(options_.dim);
    std::int64_t first_row = 0;
    for (const PlannedSequence& sequence : plan.sequences) {
        ActiveRequest& active = request(sequence.slot);
        for (std::int32_t i = 0; active.pooler && i < sequence.token_count; ++i) {
            const std::int32_t position = sequence.first_position + i;
            if (!active.pooler->wants(position, active.prompt_tokens)) continue;
            active.pooler->take(position, std::span(hidden.row<float>(first_row + i), dim));
        }
        if (active.pooler && sequence.sample) pooled_.push_back(sequence.slot);
        first_row += sequence.token_count;
    }
}

void StepLoop::finish_embedding(SlotId slot) {
    Result<std::vector<float>> embedding = request(slot).pooler->finish();
    if (!embedding) {
        end_broken(slot, std::move(embedding).error());
        return;
    }
    request(slot).event.embedding = std::move(*embedding);
    end(slot, FinishReason::kStop);
}

// Samples a sequence's next token and turns it into text; ends the sequence, or offers what its sink may see.
void StepLoop::take_token(SlotId slot, const Logits& logits, std::int64_t row) {
    ActiveRequest& active = request(slot);
    Result<TokenId> drawn = draw(active, logits, row);
    if (!drawn) {
        end_broken(slot, std::move(drawn).error());
        return;
    }
    const TokenId token = *drawn;
    TokenEvent& event = active.event;
    active.tokens.push_back(token);
    event.tokens.push_back(token);
    ++event.usage.completion_tokens;
    add(published_.completion_tokens, 1);

    const bool ended = !active.ignore_eos && std::find(active.stop_tokens.begin(), active.stop_tokens.end(),
                                                       token) != active.stop_tokens.end();
    const bool full_length = event.usage.completion_tokens == active.max_tokens;
    if (!ended) push_text(active, token);
    if ((ended || full_length) && !active.stops.stopped()) {
        active.stops.push(active.decoder.flush(), event.text);
        event.text += active.stops.flush();
    }
    if (ended || active.stops.stopped()) {
        end(slot, FinishReason::kStop);
    } else if (full_length) {
        end(slot, FinishReason::kLength);
    } else {
        scheduler_.append_token(slot);
        if (!event.text.empty()) offer(slot);
    }
}

// The next token from a row of logits. When the request wants log-probabilities, those of the token are added
// to its event.
Result<TokenId> StepLoop::draw(ActiveRequest& active, const Logits& logits, std::int64_t row) {
    if (logits.finite.as<std::int32_t>()[row] == 0) {
        return fail(Code::kInternal, "the model gave a logit that is not finite");
    }
    const std::span<const float> values(logits.values.row<float>(row), static_cast<std::size_t>(drawable_));
    const auto generated =
        std::span<const TokenId>(active.tokens).subspan(static_cast<std::size_t>(active.prompt_tokens));
    DrawHistory history{generated, {}};
    if (static_cast<std::int32_t>(generated.size()) < active.min_tokens) history.barred = active.stop_tokens;
    const DrawKey key{active.sampling.seed, active.sampling.choice,
                      static_cast<std::int64_t>(active.tokens.size())};
    OSTAL_TRY(const TokenId token, sampler_.sample(values, active.sampling, history, key));
    if (active.top_log_probs) {
        TokenLogProbs found;
        found.top.resize(std::min(static_cast<std::size_t>(*active.top_log_probs), values.size()));
        OSTAL_TRY(found.log_prob, sampler_.log_probs(values, token, found.top));
        active.event.log_probs.push_back(std::move(found));
    }
    return token;
}

void StepLoop::end_broken(SlotId slot, Error error) {
    // One line for the 1st, 2nd, 4th, ...: a broken model must not fill the disk.
    if (std::has_single_bit(++broken_outputs_)) {
        log_.error("the model gave unusable numbers", {{"request", std::to_string(request(slot).id)},
                                                       {"times", std::to_string(broken_outputs_)}});
    }
    end(slot, FinishReason::kError, std::move(error));
}

void StepLoop::end(SlotId slot, FinishReason reason, std::optional<Error> error) {
    unschedule(slot);
    TokenEvent& event = request(slot).event;
    event.finish = reason;
    event.error = std::move(error);
    offer(slot);
}

// Hands the sink what it has not seen. Afterwards the request may be gone.
void StepLoop::offer(SlotId slot) {
    ActiveRequest& active = request(slot);
    switch (active.sink->push(active.event)) {
        case PushResult::kAccepted:
            if (active.event.finish) {
                release(slot);
                return;
            }
            active.event.text.clear();
            active.event.tokens.clear();
            active.event.log_probs.clear();
            if (!active.sink_full) return;
            active.sink_full = false;
            --refused_;
            scheduler_.resume(slot);
            return;
        case PushResult::kFull:
            if (active.sink_full) return;
            active.sink_full = true;
            active.full_since_us = clock_.mono_now_us();
            ++refused_;
            if (active.scheduled) scheduler_.pause(slot);
            return;
        case PushResult::kGone:
            unschedule(slot);
            release(slot);
            return;
    }
}

// Takes a request out of the scheduler; its blocks are free then.
void StepLoop::unschedule(SlotId slot) {
    ActiveRequest& active = request(slot);
    if (!active.scheduled) return;
    scheduler_.remove(slot);
    active.scheduled = false;
}

void StepLoop::release(SlotId slot) {
    const ActiveRequest& active = request(slot);
    CHECK(!active.scheduled);
    const RequestId id = active.id;
    const bool started = active.started;
    if (active.sink_full) --refused_;
    requests_[static_cast<std::size_t>(slot)].reset();
    free_slots_.push_back(slot);
    publish();  // before the inbox wakes a drain(): stats() must not lag behind it
    inbox_.note_ended(id, started);
}

void StepLoop::end_all() {
    read_mail();  // what came before the stop is told, too
    for (std::size_t i = 0; i < requests_.size(); ++i) {
        const auto slot = static_cast<SlotId>(i);
        if (requests_[i] && requests_[i]->scheduled) {
            end(slot, FinishReason::kCancelled, Error(Code::kUnavailable, "the engine is shutting down"));
        }
        if (requests_[i]) release(slot);
    }
    publish();
}

void StepLoop::publish() {
    store(published_.waiting, scheduler_.waiting());
    store(published_.running, scheduler_.running());
    store(published_.paused, scheduler_.paused());
    store(published_.kv_blocks_free, pool_.free());
    store(published_.preemptions, scheduler_.preemptions());
}

}  // namespace ostal::engine
