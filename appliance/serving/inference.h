// One admitted inference: its audit records and its place in an engine.
//
// Two records, as the audit demands: one before the prompt reaches the engine, one at the end. The last bytes of
// an answer wait until the second one is durable, so an answer that a client has whole is in the log whole.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "appliance/ops/metrics.h"
#include "appliance/serving/models.h"
#include "base/clock.h"
#include "security/audit/log.h"

namespace ostal {

// Figures of all inferences, for /metrics.
struct InferenceMetrics {
    LatencyHistogram time_to_first_token;
    LatencyHistogram inter_token;
    LatencyHistogram duration;
    std::atomic<std::uint64_t> started{0};
    std::atomic<std::uint64_t> finished{0};
    std::atomic<std::uint64_t> cancelled{0};
    std::atomic<std::uint64_t> failed{0};
};

// Thread-safe. Owned by the answer; ends itself as cancelled when it is dropped unfinished.
class Inference {
public:
    struct Seams {
        security::AuditLog& audit;
        const Clock& clock;
        InferenceMetrics& metrics;
    };
    // `record` carries who, what, which model and the prompt's tokens; it is appended as the request half of the
    // pair, durably, before this returns. The audit's own error otherwise, and nothing was started. `ids` are the
    // sequences that answer.
    static Result<std::shared_ptr<Inference>> admit(const Seams& seams, std::weak_ptr<LoadedModel> model,
                                                    std::vector<engine::RequestId> ids, security::AuditRecord record);
    ~Inference();
    Inference(const Inference&) = delete;
    Inference& operator=(const Inference&) = delete;

    // Ends all sequences in the engine at its next step. Not from the engine's own threads.
    void cancel();
    bool cancelled() const { return cancelled_.load(); }
    // Notes what sequence `index` has generated so far. From one thread at a time.
    void on_tokens(std::size_t index, std::int32_t completion_tokens);
    // The prompts' tokens, and what all sequences generated as far as it was noted.
    engine::Usage usage() const;
    // Appends the second record (once; later calls do nothing but call `durable`). `durable` is called when it
    // is on disk, or with the audit's error, from the audit thread or at once.
    void finish(int status, std::string detail, std::function<void(Status)> durable);

private:
    struct Progress {
        std::int32_t tokens = 0;
        std::int64_t last_us = 0;
    };
    Inference(const Seams& seams, std::weak_ptr<LoadedModel> model, std::vector<engine::RequestId> ids,
              security::AuditRecord record);
    const Seams seams_;
    const std::weak_ptr<LoadedModel> model_;
    const std::vector<engine::RequestId> ids_;
    security::AuditRecord record_;
    const std::int64_t started_us_;
    std::vector<Progress> progress_;  // by sequence
    std::atomic<std::int32_t> completion_tokens_{0};
    std::atomic<bool> cancelled_{false};
    std::atomic<bool> finished_{false};
};

}  // namespace ostal
