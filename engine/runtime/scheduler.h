// Who takes part in the next step: a pure function of (state, events, budget) to a StepPlan.
//
// No clock, no input or output, no lock, no randomness: the same events give the same plans. Not thread-safe;
// the scheduler thread owns it. No call allocates after construction.
//
// A request is known here by its slot, a number below `max_requests` that the caller chose, and by two
// counts: the tokens it has (prompt + generated) and the tokens whose keys and values are cached. One that
// lacks a single cached token decodes; one that lacks more is in prefill. Hence preemption by recompute is
// simply "nothing is cached": the generated tokens are then part of what is prefilled, and since logits do
// not depend on how tokens are cut into steps (contracts: fixed reduction order), neither does the output.
//
// Policy of a step:
//   1. Decode, oldest first. A sequence whose blocks are full takes one more. When none is free, a victim is
//      preempted: the youngest of those paused for longer than kPauseGracePlans, else the youngest of all,
//      the needy one itself included.
//   2. Admission, first come first served by arrival: a preempted request keeps its arrival and so goes
//   first.
//      It takes the blocks of all its tokens at once, so prefill never waits for a block, and unless it runs
//      alone leaves one free for each running sequence and itself, so that the next decodes do not throw it
//      out again. Where slots or blocks lack, sequences paused for longer than kPauseGracePlans give way.
//      Nobody overtakes the head of the queue but when the head is paused.
//   3. Prefill, oldest first, in chunks up to `step_token_budget` tokens a step.
// A paused sequence (its reader does not read) takes no part and keeps its blocks.
// The oldest request that is not paused advances in every step or, at the latest, when the grace of paused
// ones has run out, so every request finishes. Continuous batching: Yu et al., "Orca", OSDI 2022; block
// tables and recompute: Kwon et al., "PagedAttention", SOSP 2023, sections 4.2 and 4.5; chunked prefill:
// Agrawal et al., "Sarathi-Serve", OSDI 2024, section 4.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/runtime/block_pool.h"

namespace ostal::engine {

using SlotId = std::int32_t;

struct SchedulerLimits {
    std::int32_t max_requests = 0;       // slots; running, preempted and waiting together
    std::int32_t max_waiting = 0;        // of them, never started
    std::int32_t max_sequences = 0;      // running at once
    std::int32_t step_token_budget = 0;  // prefill tokens a step, beside one token for each decode
    std::int32_t block_tokens = 0;
    std::int32_t max_sequence_tokens = 0;  // prompt + generated; the pool holds at least one such sequence
};

// Tokens [first_position, first_position + token_count) of one sequence.
struct PlannedSequence {
    SlotId slot = 0;
    std::int32_t first_position = 0;
    std::int32_t token_count = 0;
    bool sample = false;  // the logits after its last token are wanted: the sequence's next token
    std::span<const BlockId>
        blocks;  // position p lies in blocks[p / block_tokens]; valid until the next event
};

struct StepPlan {
    std::vector<PlannedSequence> sequences;  // decodes first; each slot at most once
    std::int32_t token_count = 0;            // of all; at most max_sequences + step_token_budget
    std::int32_t sample_count = 0;
};

class Scheduler {
public:
    static constexpr std::int64_t kPauseGracePlans = 64;

    // `pool` outlives the scheduler, and only the scheduler takes from it.
    Scheduler(const SchedulerLimits& limits, BlockPool& pool);

    // --- events ---
    // A request with `token_count` prompt tokens joins the queue under a free slot. False when `max_waiting`
    // requests wait already. CHECK: the slot is free, 1 <= token_count <= max_sequence_tokens. One of that
    // many is removed after its prefill (an embedding); as one with fewer tokens may be.
    [[nodiscard]] bool submit(SlotId slot, std::int32_t token_count);
    // The request has ended (finished, cancelled, reader gone): blocks are freed, the slot is free again.
    void remove(SlotId slot);
    // The reader does not take events, or takes them again. Both may be repeated.
    void pause(SlotId slot);
    void resume(SlotId slot);

    // --- a step ---
    // Decides the next step and takes the blocks for it. The plan is valid until the next call of a method
    // that is not const.
    const StepPlan& plan();
    // The planned step was computed. Then, for each planned slot with `sample`: append_token() or remove().
    void step_finished();
    // One more generated token. CHECK: all tokens before it are cached.
    void append_token(SlotId slot);

    // --- state ---
    std::int32_t waiting() const { return static_cast<std::int32_t>(waiting_.size()); }  // preempted included
    std::int32_t unstarted() const { return unstarted_; }
    std::int32_t running() const { return static_cast<std::int32_t>(running_.size()); }
    std::int32_t paused() const;  // of the running ones
    std::int64_t preemptions() const { return preemptions_; }
    bool is_running(SlotId slot) const { return at(slot).state == State::kRunning; }
    bool has_started(SlotId slot) const { return at(slot).started; }
    std::span<const BlockId> blocks(SlotId slot) const;

private:
    enum class State { kFree, kWaiting, kRunning };
    struct Entry {
        State state = State::kFree;
        bool paused = false;
        bool started = false;      // was admitted at least once
        std::int64_t arrival = 0;  // rising; smaller is older
        std::int64_t paused_at_plan = 0;
        std::int64_t planned_at_plan = 0;  // the last plan that it was part of
        std::int32_t tokens = 0;           // prompt + generated
        std::int32_t cached = 0;           // of those, with keys and values in blocks
        std::int32_t table = -1;           // row of tables_ while running
        std::int32_t block_count = 0;      // filled entries of that row
    };

    Entry& at(SlotId slot);
    const Entry& at(SlotId slot) const;
    std::int32_t blocks_for(std::int32_t tokens) const;
    bool pause_ran_out(const Entry& entry) const;
    void insert_by_arrival(std::vector<SlotId>& list, SlotId slot);
    void append_block(Entry& entry, BlockId block);
    void free_blocks(Entry& entry);
    void preempt(SlotId slot);
    SlotId victim() const;
    void plan_decodes();
    void admit();
    bool make_room(std::int32_t blocks_needed);
    void plan_prefill();
    void add_to_plan(SlotId slot, std::int32_t token_count);

    const SchedulerLimits limits_;
    BlockPool& pool_;
    const std::int32_t table_blocks_;  // entries of one block table
    std::vector<Entry> entries_;       // by slot
    std::vector<SlotId> waiting_;      // by arrival
    std::vector<SlotId> running_;      // by arrival
    std::vector<BlockId> tables_;      // [max_sequences, table_blocks_]
    std::vector<std::int32_t> free_tables_;
    StepPlan plan_;
    bool in_step_ = false;  // between plan() and step_finished()
    std::int64_t arrivals_ = 0;
    std::int64_t plans_ = 0;
    std::int64_t preemptions_ = 0;
    std::int32_t unstarted_ = 0;
};

}  // namespace ostal::engine
