// A TokenSink for tests: gathers an answer and can be slow, full or gone.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"
#include "engine/token_sink.h"

namespace ostal::test {

struct Answer {
    std::string text;
    std::vector<engine::TokenId> tokens;
    std::vector<engine::TokenLogProbs> log_probs;
    std::vector<float> embedding;
    std::vector<std::string> pieces;  // text of each event
    std::optional<engine::FinishReason> finish;
    std::optional<Error> error;
    engine::Usage usage;
};

class CollectingSink final : public engine::TokenSink {
public:
    // Decides about the n-th offer, counted from 0, before the event is looked at; runs on the scheduler
    // thread.
    using Behaviour = std::function<engine::PushResult(std::uint64_t)>;

    CollectingSink() = default;
    explicit CollectingSink(Behaviour behaviour) : behaviour_(std::move(behaviour)) {}
    // Refuses an event with a probability of `percent` in 100.
    static Behaviour often_full(std::uint64_t seed, std::uint64_t percent) {
        return [random = SeededRandom(seed), percent](std::uint64_t) mutable {
            return random.below(100) < percent ? engine::PushResult::kFull : engine::PushResult::kAccepted;
        };
    }

    engine::PushResult push(const engine::TokenEvent& event) override {
        const std::lock_guard lock(mutex_);
        CHECK(!answer_.finish.has_value());  // an event after the last one
        if (behaviour_) {
            const auto result = behaviour_(offers_++);
            if (result != engine::PushResult::kAccepted) return result;
        }
        CHECK(is_valid_utf8(event.text));
        answer_.text += event.text;
        answer_.pieces.push_back(event.text);
        answer_.tokens.insert(answer_.tokens.end(), event.tokens.begin(), event.tokens.end());
        answer_.log_probs.insert(answer_.log_probs.end(), event.log_probs.begin(), event.log_probs.end());
        CHECK(event.log_probs.empty() || event.log_probs.size() == event.tokens.size());
        CHECK(event.embedding.empty() || event.finish.has_value());
        answer_.embedding = event.embedding;
        answer_.usage = event.usage;
        answer_.finish = event.finish;
        answer_.error = event.error;
        changed_.notify_all();
        return engine::PushResult::kAccepted;
    }

    std::size_t tokens_so_far() const {
        const std::lock_guard lock(mutex_);
        return answer_.tokens.size();
    }
    Answer so_far() const {
        const std::lock_guard lock(mutex_);
        return answer_;
    }
    // Waits for the last event, or for `tokens` of them. The limit only ends a test that hangs.
    Answer wait() {
        return wait_until([this] { return answer_.finish.has_value(); });
    }
    Answer wait_for_tokens(std::size_t tokens) {
        return wait_until([this, tokens] { return answer_.finish || answer_.tokens.size() >= tokens; });
    }

private:
    template <typename Condition>
    Answer wait_until(Condition condition) {
        std::unique_lock lock(mutex_);
        CHECK(changed_.wait_for(lock, std::chrono::seconds(120), condition));
        return answer_;
    }

    Behaviour behaviour_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t offers_ = 0;
    Answer answer_;
};

// Waits until another thread has made `condition` true.
template <typename Condition>
void eventually(Condition condition) {
    for (int i = 0; i < 120'000; ++i) {
        if (condition()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK_UNREACHABLE("the condition never came true");
}

}  // namespace ostal::test
