#include "appliance/serving/inference.h"

namespace ostal {
namespace {

constexpr int kClientGone = 499;

}  // namespace

Result<std::shared_ptr<Inference>> Inference::admit(const Seams& seams, std::weak_ptr<LoadedModel> model,
                                                    engine::RequestId id, security::AuditRecord record) {
    record.pair = security::AuditPair::kRequest;
    OSTAL_TRYV(seams.audit.append(record));
    ++seams.metrics.started;
    return std::shared_ptr<Inference>(new Inference(seams, std::move(model), id, std::move(record)));
}

Inference::Inference(const Seams& seams, std::weak_ptr<LoadedModel> model, engine::RequestId id,
                     security::AuditRecord record)
    : seams_(seams), model_(std::move(model)), id_(id), record_(std::move(record)),
      started_us_(seams.clock.mono_now_us()) {}

Inference::~Inference() {
    if (finished_.load()) return;
    cancel();
    const engine::Usage usage{prompt_tokens_.load(), completion_tokens_.load()};
    finish(kClientGone, usage, "cancelled", [](const Status&) {});
}

void Inference::cancel() {
    if (const auto model = model_.lock()) model->engine->cancel(id_);
}

void Inference::on_tokens(const engine::Usage& usage) {
    const std::int64_t now = seams_.clock.mono_now_us();
    prompt_tokens_ = usage.prompt_tokens;
    completion_tokens_ = usage.completion_tokens;
    if (usage.completion_tokens <= tokens_seen_) return;
    if (tokens_seen_ == 0) {
        seams_.metrics.time_to_first_token.observe_us(now - started_us_);
    } else {
        seams_.metrics.inter_token.observe_us((now - last_token_us_) / (usage.completion_tokens - tokens_seen_));
    }
    tokens_seen_ = usage.completion_tokens;
    last_token_us_ = now;
}

void Inference::finish(int status, const engine::Usage& usage, std::string detail,
                       std::function<void(Status)> durable) {
    if (finished_.exchange(true)) {
        durable({});
        return;
    }
    seams_.metrics.duration.observe_us(seams_.clock.mono_now_us() - started_us_);
    if (status == kClientGone) {
        ++seams_.metrics.cancelled;
    } else if (status >= 400) {
        ++seams_.metrics.failed;
    } else {
        ++seams_.metrics.finished;
    }
    security::AuditRecord record = record_;
    record.pair = security::AuditPair::kResponse;
    record.status = status;
    record.tokens_in = static_cast<std::uint64_t>(usage.prompt_tokens);
    record.tokens_out = static_cast<std::uint64_t>(usage.completion_tokens);
    record.detail = std::move(detail);
    seams_.audit.append(std::move(record), std::move(durable));
}

}  // namespace ostal
