#include "appliance/serving/inference.h"

namespace ostal {
namespace {

constexpr int kClientGone = 499;

}  // namespace

Result<std::shared_ptr<Inference>> Inference::admit(const Seams& seams, std::weak_ptr<LoadedModel> model,
                                                    std::vector<engine::RequestId> ids,
                                                    security::AuditRecord record) {
    record.pair = security::AuditPair::kRequest;
    OSTAL_TRYV(seams.audit.append(record));
    ++seams.metrics.started;
    return std::shared_ptr<Inference>(new Inference(seams, std::move(model), std::move(ids), std::move(record)));
}

Inference::Inference(const Seams& seams, std::weak_ptr<LoadedModel> model, std::vector<engine::RequestId> ids,
                     security::AuditRecord record)
    : seams_(seams), model_(std::move(model)), ids_(std::move(ids)), record_(std::move(record)),
      started_us_(seams.clock.mono_now_us()), progress_(ids_.size()) {}

Inference::~Inference() {
    if (finished_.load()) return;
    cancel();
    finish(kClientGone, "cancelled", [](const Status&) {});
}

void Inference::cancel() {
    cancelled_ = true;
    const auto model = model_.lock();
    if (model == nullptr) return;
    for (const engine::RequestId id : ids_) model->engine->cancel(id);
}

void Inference::on_tokens(std::size_t index, std::int32_t completion_tokens) {
    Progress& progress = progress_[index];
    if (completion_tokens <= progress.tokens) return;
    const std::int64_t now = seams_.clock.mono_now_us();
    const std::int32_t added = completion_tokens - progress.tokens;
    if (progress.tokens > 0) {
        seams_.metrics.inter_token.observe_us((now - progress.last_us) / added);
    } else if (completion_tokens_.load() == 0) {
        seams_.metrics.time_to_first_token.observe_us(now - started_us_);
    }
    completion_tokens_ += added;
    progress = {completion_tokens, now};
}

engine::Usage Inference::usage() const {
    return {static_cast<std::int32_t>(record_.tokens_in), completion_tokens_.load()};
}

void Inference::finish(int status, std::string detail, std::function<void(Status)> durable) {
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
    record.tokens_out = static_cast<std::uint64_t>(completion_tokens_.load());
    record.detail = std::move(detail);
    seams_.audit.append(std::move(record), std::move(durable));
}

}  // namespace ostal
