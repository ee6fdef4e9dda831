#include "engine/runtime/scheduler.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "tests/support/allocation_count.h"

namespace ostal::engine {
namespace {

SchedulerLimits small_limits() {
    SchedulerLimits limits;
    limits.max_requests = 16;
    limits.max_waiting = 8;
    limits.max_sequences = 4;
    limits.step_token_budget = 8;
    limits.block_tokens = 4;
    limits.max_sequence_tokens = 32;
    return limits;
}

std::vector<SlotId> slots_of(const StepPlan& plan) {
    std::vector<SlotId> out;
    for (const auto& sequence : plan.sequences) out.push_back(sequence.slot);
    return out;
}

// Runs one step in which every sampled sequence goes on.
void run_step(Scheduler& scheduler) {
    const StepPlan plan = scheduler.plan();
    scheduler.step_finished();
    for (const auto& sequence : plan.sequences) {
        if (sequence.sample) scheduler.append_token(sequence.slot);
    }
}

TEST(Scheduler, DecodesComeFirstAndPrefillIsCutToTheBudget) {
    BlockPool pool(64);
    Scheduler scheduler(small_limits(), pool);
    ASSERT_TRUE(scheduler.submit(3, 4));
    run_step(scheduler);
    ASSERT_TRUE(scheduler.submit(5, 19));
    for (const int chunk : {8, 8, 3}) {
        const StepPlan& plan = scheduler.plan();
        ASSERT_EQ(slots_of(plan), (std::vector<SlotId>{3, 5}));
        EXPECT_EQ(plan.sequences[0].token_count, 1);
        EXPECT_TRUE(plan.sequences[0].sample);
        EXPECT_EQ(plan.sequences[1].token_count, chunk);
        EXPECT_EQ(plan.sequences[1].sample, chunk == 3);
        EXPECT_EQ(plan.sequences[1].blocks.size(), 5U);
        scheduler.step_finished();
        scheduler.append_token(3);
        if (chunk == 3) scheduler.append_token(5);
    }
    const StepPlan& plan = scheduler.plan();
    EXPECT_EQ(plan.token_count, 2);
    EXPECT_EQ(plan.sequences[1].first_position, 19);
    scheduler.step_finished();
}

TEST(Scheduler, TheQueueIsBounded) {
    BlockPool pool(64);
    Scheduler scheduler(small_limits(), pool);
    for (SlotId slot = 0; slot < 8; ++slot) EXPECT_TRUE(scheduler.submit(slot, 2));
    EXPECT_FALSE(scheduler.submit(8, 2));
    run_step(scheduler);
    EXPECT_EQ(scheduler.unstarted(), 4);
    EXPECT_TRUE(scheduler.submit(8, 2));
}

TEST(Scheduler, ThePreemptedOneIsTheYoungestAndComesBackFirst) {
    BlockPool pool(9);
    Scheduler scheduler(small_limits(), pool);
    ASSERT_TRUE(scheduler.submit(0, 8));
    run_step(scheduler);
    ASSERT_TRUE(scheduler.submit(1, 8));
    run_step(scheduler);
    ASSERT_TRUE(scheduler.submit(2, 8));
    int steps = 0;
    while (scheduler.preemptions() == 0) {
        run_step(scheduler);
        ASSERT_LT(++steps, 40);
    }
    // Two of 12 and more tokens fill eight of nine blocks: slot 1 made way for slot 0 and waits before
    // slot 2.
    EXPECT_TRUE(scheduler.is_running(0));
    EXPECT_FALSE(scheduler.is_running(1));
    EXPECT_FALSE(scheduler.has_started(2));
    EXPECT_TRUE(scheduler.blocks(1).empty());
    scheduler.remove(0);
    const StepPlan& plan = scheduler.plan();
    EXPECT_EQ(plan.sequences[0].slot, 1);
    EXPECT_EQ(plan.sequences[0].first_position, 0);
    EXPECT_GT(plan.sequences[0].blocks.size(), 2U);  // what it generated is prefilled with the prompt
    scheduler.step_finished();
}

TEST(Scheduler, APausedSequenceKeepsItsBlocksUntilItsGraceRanOut) {
    BlockPool pool(8);
    Scheduler scheduler(small_limits(), pool);
    ASSERT_TRUE(scheduler.submit(0, 28));
    for (int i = 0; i < 4; ++i) run_step(scheduler);
    scheduler.pause(0);
    EXPECT_EQ(scheduler.paused(), 1);
    ASSERT_TRUE(scheduler.submit(1, 8));
    std::int64_t plans = 0;
    while (!scheduler.is_running(1)) {
        EXPECT_EQ(scheduler.blocks(0).size(), 7U);
        run_step(scheduler);
        ASSERT_LE(++plans, Scheduler::kPauseGracePlans + 1);
    }
    EXPECT_EQ(plans, Scheduler::kPauseGracePlans + 1);
    EXPECT_FALSE(scheduler.is_running(0));
    EXPECT_EQ(scheduler.paused(), 0);
    scheduler.resume(0);
    scheduler.remove(1);
    run_step(scheduler);
    EXPECT_TRUE(scheduler.is_running(0));
}

TEST(Scheduler, APromptOfOneTokenIsPlannedOnce) {
    BlockPool pool(64);
    SchedulerLimits limits = small_limits();
    limits.step_token_budget = 1;
    Scheduler scheduler(limits, pool);
    for (SlotId slot = 0; slot < 3; ++slot) ASSERT_TRUE(scheduler.submit(slot, 1));
    for (std::size_t step = 1; step <= 5; ++step) {
        const auto slots = slots_of(scheduler.plan());
        EXPECT_EQ(slots.size(), std::min<std::size_t>(step, 3));
        scheduler.step_finished();
        for (const SlotId slot : slots) scheduler.append_token(slot);
    }
}

// A caller in miniature: random events, a cache whose every cell names what was written into it, and the
// invariants checked at each step.
class Simulation {
public:
    Simulation(std::uint64_t seed, const SchedulerLimits& limits, std::int32_t blocks, bool with_pauses)
        : random_(seed),
          limits_(limits),
          pool_(blocks),
          scheduler_(limits, pool_),
          with_pauses_(with_pauses),
          cells_(static_cast<std::size_t>(blocks * limits.block_tokens)) {
        for (SlotId slot = limits.max_requests; slot > 0; --slot) free_slots_.push_back(slot - 1);
    }

    void random_events() {
        if (random_.below(3) == 0) submit();
        if (!with_pauses_ || live_.empty()) return;
        const SlotId slot = random_live();
        switch (random_.below(40)) {
            case 0: remove(slot); break;
            case 1:
            case 2:
            case 3:
                if (live_[slot].generated > 0) pause(slot);
                break;
            default: break;
        }
        for (auto& [other, request] : live_) {
            if (request.paused && random_.below(request.patience) == 0) resume(other);
        }
    }

    void step() {
        ++steps_;
        const std::int64_t preempted_before = scheduler_.preemptions();
        const StepPlan& plan = scheduler_.plan();
        check_plan(plan, scheduler_.preemptions() != preempted_before);
        check_order();
        check_progress(plan);
        const std::vector<PlannedSequence> sequences = plan.sequences;
        std::vector<std::vector<BlockId>> tables;
        for (const auto& sequence : sequences) {
            tables.emplace_back(sequence.blocks.begin(), sequence.blocks.end());
        }
        scheduler_.step_finished();
        for (std::size_t i = 0; i < sequences.size(); ++i) compute(sequences[i], tables[i]);
        check_blocks();
    }

    void drain() {
        for (auto& [slot, request] : live_) resume(slot);
        const std::int64_t bound = steps_ + plans_to_finish_all();
        while (!live_.empty()) {
            step();
            ASSERT_LE(steps_, bound) << "starvation";
            if (testing::Test::HasFatalFailure()) return;
        }
        EXPECT_EQ(pool_.free(), pool_.total());
    }

    std::int64_t finished() const { return finished_; }
    std::int64_t preemptions() const { return scheduler_.preemptions(); }

private:
    struct Live {
        std::int64_t uid = 0;  // rising: arrival
        std::int32_t prompt = 0;
        std::int32_t generated = 0;
        std::int32_t wanted = 0;
        std::int32_t cached = 0;
        bool paused = false;
        std::uint64_t patience = 1;
        std::int64_t finish_by = 0;  // step
    };
    struct Cell {
        std::int64_t uid = -1;
        std::int32_t position = -1;
    };

    SlotId random_live() {
        auto it = live_.begin();
        std::advance(it, static_cast<std::ptrdiff_t>(random_.below(live_.size())));
        return it->first;
    }
    std::int32_t between(std::int32_t low, std::int32_t high) {
        return low + static_cast<std::int32_t>(random_.below(static_cast<std::uint64_t>(high - low + 1)));
    }
    // Each oldest request advances in every plan: prefill anew, then one token a plan.
    std::int64_t plans_to_finish_all() const {
        return static_cast<std::int64_t>(live_.size()) *
               (limits_.max_sequence_tokens / limits_.step_token_budget + 2 + limits_.max_sequence_tokens);
    }

    void submit() {
        if (free_slots_.empty()) return;
        const std::int32_t total = between(2, limits_.max_sequence_tokens);
        Live request;
        request.prompt = between(1, total - 1);
        request.wanted = total - request.prompt;
        // An embedding ends with its prefill, which may fill the whole context.
        if (random_.below(4) == 0) {
            request.prompt = total;
            request.wanted = 0;
        }
        request.uid = next_uid_;
        const bool room = scheduler_.unstarted() < limits_.max_waiting;
        const SlotId slot = free_slots_.back();
        ASSERT_EQ(scheduler_.submit(slot, request.prompt), room);
        if (!room) return;
        ++next_uid_;
        free_slots_.pop_back();
        live_[slot] = request;
        live_[slot].finish_by = steps_ + plans_to_finish_all();
    }
    void remove(SlotId slot) {
        scheduler_.remove(slot);
        live_.erase(slot);
        free_slots_.push_back(slot);
        ++finished_;
    }
    void pause(SlotId slot) {
        scheduler_.pause(slot);
        live_[slot].paused = true;
        live_[slot].patience = random_.below(2) == 0 ? 4 : 200;
    }
    void resume(SlotId slot) {
        scheduler_.resume(slot);
        live_[slot].paused = false;
    }

    Cell& cell(std::span<const BlockId> table, std::int32_t position) {
        const BlockId block = table[static_cast<std::size_t>(position / limits_.block_tokens)];
        return cells_[static_cast<std::size_t>(block * limits_.block_tokens +
                                               position % limits_.block_tokens)];
    }

    void compute(const PlannedSequence& sequence, std::span<const BlockId> table) {
        Live& request = live_.at(sequence.slot);
        for (std::int32_t i = 0; i < sequence.token_count; ++i) {
            cell(table, sequence.first_position + i) = {request.uid, sequence.first_position + i};
        }
        request.cached = sequence.first_position + sequence.token_count;
        if (!sequence.sample) return;
        // Attention reads every earlier cell: each must still hold this sequence's own token.
        for (std::int32_t position = 0; position < request.cached; ++position) {
            const Cell& read = cell(table, position);
            ASSERT_EQ(read.uid, request.uid);
            ASSERT_EQ(read.position, position);
        }
        if (request.wanted == 0 || ++request.generated == request.wanted) {
            if (!with_pauses_) {
                ASSERT_LE(steps_, request.finish_by) << "overtaken too often";
            }
            remove(sequence.slot);
        } else {
            scheduler_.append_token(sequence.slot);
        }
    }

    void check_plan(const StepPlan& plan, bool preempted) {
        std::int32_t tokens = 0;
        std::int32_t samples = 0;
        std::int32_t prefill = 0;
        bool in_prefill = false;
        std::map<SlotId, int> seen;
        for (const PlannedSequence& sequence : plan.sequences) {
            ASSERT_EQ(++seen[sequence.slot], 1);
            const Live& request = live_.at(sequence.slot);
            ASSERT_FALSE(request.paused);
            ASSERT_GE(sequence.token_count, 1);
            ASSERT_TRUE(sequence.first_position == request.cached || sequence.first_position == 0);
            if (sequence.first_position != request.cached) {
                ASSERT_TRUE(preempted || was_waiting_.contains(request.uid));
            }
            const std::int32_t end = sequence.first_position + sequence.token_count;
            ASSERT_LE(end, request.prompt + request.generated);
            ASSERT_EQ(sequence.sample, end == request.prompt + request.generated);
            ASSERT_GE(static_cast<std::int32_t>(sequence.blocks.size()) * limits_.block_tokens, end);
            const bool decode = request.generated > 0 && sequence.token_count == 1 && sequence.sample;
            if (!decode && sequence.token_count > 1) in_prefill = true;
            if (sequence.token_count > 1) {
                prefill += sequence.token_count;
            } else if (decode && sequence.first_position > 0) {
                ASSERT_FALSE(in_prefill) << "a decode after a prefill";
            }
            tokens += sequence.token_count;
            samples += sequence.sample ? 1 : 0;
        }
        ASSERT_EQ(tokens, plan.token_count);
        ASSERT_EQ(samples, plan.sample_count);
        ASSERT_LE(prefill, limits_.step_token_budget);
        ASSERT_LE(tokens, limits_.step_token_budget + limits_.max_sequences);
        ASSERT_LE(scheduler_.running(), limits_.max_sequences);
        was_waiting_.clear();
        for (const auto& [slot, request] : live_) {
            if (!scheduler_.is_running(slot)) was_waiting_[request.uid] = true;
        }
    }
    // First come, first started.
    void check_order() {
        std::int64_t oldest_unstarted = next_uid_;
        std::int64_t youngest_started = -1;
        for (const auto& [slot, request] : live_) {
            if (scheduler_.has_started(slot)) {
                youngest_started = std::max(youngest_started, request.uid);
            } else {
                oldest_unstarted = std::min(oldest_unstarted, request.uid);
            }
        }
        ASSERT_LT(youngest_started, oldest_unstarted);
    }
    // The oldest that is not paused is never left out for longer than others' grace.
    void check_progress(const StepPlan& plan) {
        std::int64_t oldest = -1;
        SlotId slot_of_oldest = -1;
        for (const auto& [slot, request] : live_) {
            if (!request.paused && (oldest < 0 || request.uid < oldest)) {
                oldest = request.uid;
                slot_of_oldest = slot;
            }
        }
        if (oldest < 0) return;
        bool planned = false;
        for (const auto& sequence : plan.sequences) planned = planned || sequence.slot == slot_of_oldest;
        left_out_ = planned || oldest != last_oldest_ ? 0 : left_out_ + 1;
        last_oldest_ = oldest;
        ASSERT_TRUE(planned || with_pauses_);
        ASSERT_LE(left_out_, Scheduler::kPauseGracePlans + 1);
    }
    void check_blocks() {
        std::vector<char> used(static_cast<std::size_t>(pool_.total()), 0);
        std::int32_t count = 0;
        for (const auto& [slot, request] : live_) {
            for (const BlockId block : scheduler_.blocks(slot)) {
                ASSERT_EQ(used[static_cast<std::size_t>(block)]++, 0) << "a block used twice";
                ASSERT_EQ(pool_.references(block), 1);
                ++count;
            }
        }
        ASSERT_EQ(pool_.free() + count, pool_.total());
    }

    SeededRandom random_;
    SchedulerLimits limits_;
    BlockPool pool_;
    Scheduler scheduler_;
    bool with_pauses_;
    std::vector<Cell> cells_;
    std::vector<SlotId> free_slots_;
    std::map<SlotId, Live> live_;
    std::map<std::int64_t, bool> was_waiting_;
    std::int64_t next_uid_ = 0;
    std::int64_t steps_ = 0;
    std::int64_t finished_ = 0;
    std::int64_t left_out_ = 0;
    std::int64_t last_oldest_ = -1;
};

TEST(SchedulerProperty, InvariantsHoldOverAMillionRandomSteps) {
#ifdef OSTAL_SANITIZED
    constexpr int kStepsPerSeed = 500;
#else
    constexpr int kStepsPerSeed = 5'000;
#endif
    constexpr int kSeeds = 200;
    std::int64_t preemptions = 0;
    std::int64_t finished = 0;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        SeededRandom random(seed * 7919);
        SchedulerLimits limits;
        limits.max_requests = static_cast<std::int32_t>(4 + random.below(12));
        limits.max_waiting = static_cast<std::int32_t>(1 + random.below(8));
        limits.max_sequences = static_cast<std::int32_t>(1 + random.below(6));
        limits.step_token_budget = static_cast<std::int32_t>(1 + random.below(16));
        limits.block_tokens = static_cast<std::int32_t>(1 + random.below(6));
        limits.max_sequence_tokens = static_cast<std::int32_t>(2 + random.below(30));
        const std::int32_t one_sequence =
            (limits.max_sequence_tokens + limits.block_tokens - 1) / limits.block_tokens;
        const auto blocks = one_sequence + static_cast<std::int32_t>(
                                               random.below(static_cast<std::uint64_t>(one_sequence + 1)));
        Simulation simulation(seed, limits, blocks, seed % 2 == 0);
        for (int step = 0; step < kStepsPerSeed; ++step) {
            simulation.random_events();
            simulation.step();
            if (HasFatalFailure()) return;
        }
        simulation.drain();
        if (HasFatalFailure()) return;
        preemptions += simulation.preemptions();
        finished += simulation.finished();
    }
    RecordProperty("preemptions", std::to_string(preemptions));
    RecordProperty("finished", std::to_string(finished));
    EXPECT_GT(preemptions, kStepsPerSeed);  // the pools are small: the hard cases were met
    EXPECT_GT(finished, 5 * kStepsPerSeed);
}

TEST(Scheduler, AllocatesNothingAfterConstruction) {
    BlockPool pool(12);
    Scheduler scheduler(small_limits(), pool);
    const std::uint64_t before = testing_support::allocations_on_this_thread();
    for (int round = 0; round < 50; ++round) {
        for (SlotId slot = 0; slot < 8; ++slot) ASSERT_TRUE(scheduler.submit(slot, 9));
        for (int step = 0; step < 30; ++step) {
            const StepPlan& plan = scheduler.plan();
            scheduler.step_finished();
            for (const auto& sequence : plan.sequences) {
                if (!sequence.sample) continue;
                if (sequence.first_position + sequence.token_count < 20)
                    scheduler.append_token(sequence.slot);
                else
                    scheduler.remove(sequence.slot);
            }
        }
        while (scheduler.running() + scheduler.waiting() > 0) {
            const StepPlan& plan = scheduler.plan();
            scheduler.step_finished();
            for (const auto& sequence : plan.sequences) {
                if (sequence.sample) scheduler.remove(sequence.slot);
            }
        }
    }
    EXPECT_EQ(testing_support::allocations_on_this_thread(), before);
    EXPECT_GT(scheduler.preemptions(), 0);
}

TEST(SchedulerDeathTest, MisuseIsABug) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    BlockPool pool(8);
    Scheduler scheduler(small_limits(), pool);
    EXPECT_DEATH(scheduler.remove(1), "state");
    ASSERT_TRUE(scheduler.submit(1, 4));
    EXPECT_DEATH((void)scheduler.submit(1, 4), "state");
    EXPECT_DEATH((void)scheduler.submit(2, 33), "token_count");
    EXPECT_DEATH((void)scheduler.submit(16, 4), "slot");
    EXPECT_DEATH(scheduler.append_token(1), "state");
    (void)scheduler.plan();
    EXPECT_DEATH(scheduler.remove(1), "in_step");
    BlockPool too_small(7);
    EXPECT_DEATH(Scheduler(small_limits(), too_small), "total");
}

}  // namespace
}  // namespace ostal::engine
