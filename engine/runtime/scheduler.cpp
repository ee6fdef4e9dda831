#include "engine/runtime/scheduler.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace ostal::engine {

Scheduler::Scheduler(const SchedulerLimits& limits, BlockPool& pool)
    : limits_(limits),
      pool_(pool),
      table_blocks_((limits.max_sequence_tokens + limits.block_tokens - 1) / limits.block_tokens) {
    CHECK(limits.max_requests > 0 && limits.max_waiting > 0 && limits.max_sequences > 0);
    CHECK(limits.step_token_budget > 0 && limits.block_tokens > 0 && limits.max_sequence_tokens > 1);
    CHECK_GE(pool.total(), table_blocks_);  // else the oldest request could wait for ever
    const auto requests = static_cast<std::size_t>(limits.max_requests);
    const auto sequences = static_cast<std::size_t>(limits.max_sequences);
    entries_.resize(requests);
    waiting_.reserve(requests);
    running_.reserve(sequences);
    tables_.resize(sequences * static_cast<std::size_t>(table_blocks_));
    for (std::int32_t table = limits.max_sequences; table > 0; --table) free_tables_.push_back(table - 1);
    plan_.sequences.reserve(sequences);
}

bool Scheduler::submit(SlotId slot, std::int32_t token_count) {
    CHECK(!in_step_);
    Entry& entry = at(slot);
    CHECK(entry.state == State::kFree);
    CHECK(token_count >= 1 && token_count <= limits_.max_sequence_tokens);
    if (unstarted_ >= limits_.max_waiting) return false;
    entry = Entry{};
    entry.state = State::kWaiting;
    entry.arrival = arrivals_++;
    entry.tokens = token_count;
    waiting_.push_back(slot);
    ++unstarted_;
    return true;
}

void Scheduler::remove(SlotId slot) {
    CHECK(!in_step_);
    Entry& entry = at(slot);
    CHECK(entry.state != State::kFree);
    if (entry.state == State::kRunning) {
        free_blocks(entry);
        std::erase(running_, slot);
    } else {
        std::erase(waiting_, slot);
    }
    if (!entry.started) --unstarted_;
    entry.state = State::kFree;
}

void Scheduler::pause(SlotId slot) {
    CHECK(!in_step_);
    Entry& entry = at(slot);
    CHECK(entry.state != State::kFree);
    if (entry.paused) return;
    entry.paused = true;
    entry.paused_at_plan = plans_;
}

void Scheduler::resume(SlotId slot) {
    CHECK(!in_step_);
    Entry& entry = at(slot);
    CHECK(entry.state != State::kFree);
    entry.paused = false;
}

const StepPlan& Scheduler::plan() {
    CHECK(!in_step_);
    ++plans_;
    plan_.sequences.clear();
    plan_.token_count = 0;
    plan_.sample_count = 0;
    plan_decodes();
    admit();
    plan_prefill();
    in_step_ = true;
    return plan_;
}

void Scheduler::step_finished() {
    CHECK(in_step_);
    in_step_ = false;
    for (const PlannedSequence& sequence : plan_.sequences) at(sequence.slot).cached += sequence.token_count;
}

void Scheduler::append_token(SlotId slot) {
    CHECK(!in_step_);
    Entry& entry = at(slot);
    CHECK(entry.state == State::kRunning);
    CHECK_EQ(entry.cached, entry.tokens);
    CHECK_LT(entry.tokens, limits_.max_sequence_tokens);
    ++entry.tokens;
}

std::span<const BlockId> Scheduler::blocks(SlotId slot) const {
    const Entry& entry = at(slot);
    if (entry.table < 0) return {};
    const std::size_t start = static_cast<std::size_t>(entry.table) * static_cast<std::size_t>(table_blocks_);
    return std::span(tables_).subspan(start, static_cast<std::size_t>(entry.block_count));
}

std::int32_t Scheduler::paused() const {
    return static_cast<std::int32_t>(
        std::count_if(running_.begin(), running_.end(), [&](SlotId slot) { return at(slot).paused; }));
}

void Scheduler::plan_decodes() {
    // A victim is younger than the needy one, or that itself, or paused: never one that is planned already.
    // So what lies before the cursor is planned or paused, and only a paused victim there moves the cursor
    // back.
    for (std::size_t i = 0; i < running_.size();) {
        const SlotId slot = running_[i];
        Entry& entry = at(slot);
        CHECK_LT(entry.cached, entry.tokens);  // a sampled sequence was neither extended nor removed
        if (entry.paused || entry.tokens - entry.cached != 1) {
            ++i;
            continue;
        }
        while (blocks_for(entry.tokens) > entry.block_count && pool_.free() == 0) {
            const SlotId chosen = victim();
            const bool moves_cursor = chosen != slot && at(chosen).arrival < entry.arrival;
            preempt(chosen);
            if (moves_cursor) --i;
            if (chosen == slot) break;
        }
        if (entry.state != State::kRunning) continue;  // running_[i] is the next one now
        if (blocks_for(entry.tokens) > entry.block_count) append_block(entry, pool_.take());
        add_to_plan(slot, 1);
        ++i;
    }
}

void Scheduler::admit() {
    std::int64_t prefill_tokens = 0;
    for (const SlotId slot : running_) {
        const Entry& entry = at(slot);
        if (!entry.paused && entry.tokens - entry.cached > 1) prefill_tokens += entry.tokens - entry.cached;
    }
    for (std::size_t i = 0; i < waiting_.size() && prefill_tokens < limits_.step_token_budget;) {
        const SlotId slot = waiting_[i];
        Entry& entry = at(slot);
        if (entry.paused) {
            ++i;
            continue;
        }
        if (!make_room(blocks_for(entry.tokens))) break;
        // make_room() may have put paused ones into the queue, also before this one.
        waiting_.erase(std::find(waiting_.begin(), waiting_.end(), slot));
        i = 0;
        insert_by_arrival(running_, slot);
        entry.state = State::kRunning;
        entry.table = free_tables_.back();
        free_tables_.pop_back();
        const std::int32_t wanted = blocks_for(entry.tokens);
        while (entry.block_count < wanted) append_block(entry, pool_.take());
        if (!entry.started) --unstarted_;
        entry.started = true;
        prefill_tokens += entry.tokens;
    }
}

// Frees a place among the running and `blocks_needed` blocks beside the headroom, at the cost of those paused
// too long; false, with nothing changed, when that does not suffice.
bool Scheduler::make_room(std::int32_t blocks_needed) {
    std::int32_t remaining = running();
    std::int32_t free = pool_.free();
    const auto fits = [&] {
        // Who runs alone needs no headroom; asking for it could keep a long request out for ever.
        const std::int32_t headroom = remaining == 0 ? 0 : remaining + 1;
        return remaining < limits_.max_sequences && free >= blocks_needed + headroom;
    };
    const auto next_evictable = [&](std::size_t before) {
        while (before > 0 && !pause_ran_out(at(running_[before - 1]))) --before;
        return before;
    };
    std::size_t evict_from = running_.size();
    while (!fits()) {
        const std::size_t found = next_evictable(evict_from);
        if (found == 0) return false;
        evict_from = found - 1;
        --remaining;
        free += at(running_[evict_from]).block_count;
    }
    for (std::size_t i = running_.size(); i > evict_from; --i) {
        if (pause_ran_out(at(running_[i - 1]))) preempt(running_[i - 1]);
    }
    return true;
}

void Scheduler::plan_prefill() {
    std::int32_t budget = limits_.step_token_budget;
    for (const SlotId slot : running_) {
        const Entry& entry = at(slot);
        if (entry.paused || budget == 0 || entry.planned_at_plan == plans_) continue;
        const std::int32_t count = std::min(entry.tokens - entry.cached, budget);
        add_to_plan(slot, count);
        budget -= count;
    }
}

void Scheduler::add_to_plan(SlotId slot, std::int32_t token_count) {
    Entry& entry = at(slot);
    entry.planned_at_plan = plans_;
    const bool sample = entry.cached + token_count == entry.tokens;
    plan_.sequences.push_back({slot, entry.cached, token_count, sample, blocks(slot)});
    plan_.token_count += token_count;
    plan_.sample_count += sample ? 1 : 0;
}

SlotId Scheduler::victim() const {
    for (std::size_t i = running_.size(); i > 0; --i) {
        if (pause_ran_out(at(running_[i - 1]))) return running_[i - 1];
    }
    return running_.back();
}

void Scheduler::preempt(SlotId slot) {
    Entry& entry = at(slot);
    CHECK(entry.state == State::kRunning);
    free_blocks(entry);
    entry.cached = 0;
    entry.state = State::kWaiting;
    std::erase(running_, slot);
    insert_by_arrival(waiting_, slot);
    ++preemptions_;
}

bool Scheduler::pause_ran_out(const Entry& entry) const {
    return entry.paused && plans_ - entry.paused_at_plan > kPauseGracePlans;
}

void Scheduler::insert_by_arrival(std::vector<SlotId>& list, SlotId slot) {
    const auto younger = [&](SlotId a, SlotId b) { return at(a).arrival < at(b).arrival; };
    list.insert(std::upper_bound(list.begin(), list.end(), slot, younger), slot);
}

void Scheduler::append_block(Entry& entry, BlockId block) {
    CHECK(block != BlockPool::kNone && entry.block_count < table_blocks_);
    const std::size_t start = static_cast<std::size_t>(entry.table) * static_cast<std::size_t>(table_blocks_);
    tables_[start + static_cast<std::size_t>(entry.block_count++)] = block;
}

void Scheduler::free_blocks(Entry& entry) {
    const std::size_t start = static_cast<std::size_t>(entry.table) * static_cast<std::size_t>(table_blocks_);
    for (std::int32_t i = 0; i < entry.block_count; ++i) {
        pool_.release(tables_[start + static_cast<std::size_t>(i)]);
    }
    free_tables_.push_back(entry.table);
    entry.table = -1;
    entry.block_count = 0;
}

std::int32_t Scheduler::blocks_for(std::int32_t tokens) const {
    return (tokens + limits_.block_tokens - 1) / limits_.block_tokens;
}

Scheduler::Entry& Scheduler::at(SlotId slot) {
    CHECK(slot >= 0 && slot < limits_.max_requests);
    return entries_[static_cast<std::size_t>(slot)];
}

const Scheduler::Entry& Scheduler::at(SlotId slot) const {
    CHECK(slot >= 0 && slot < limits_.max_requests);
    return entries_[static_cast<std::size_t>(slot)];
}

}  // namespace ostal::engine
