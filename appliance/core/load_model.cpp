#include "appliance/core/load_model.h"

#include <condition_variable>
#include <mutex>

namespace ostal {
namespace {

constexpr std::int64_t kGateLimit_us = 120'000'000;
constexpr std::int32_t kGateTokens = 4;

engine::EngineConfig engine_config(const Config& config) {
    engine::EngineConfig out;
    out.threads = static_cast<std::int32_t>(config.engine.threads);
    out.max_context_tokens = static_cast<std::int32_t>(config.engine.max_context_tokens);
    out.max_sequences = static_cast<std::int32_t>(config.engine.max_sequences);
    out.max_queue = static_cast<std::int32_t>(config.engine.max_queue);
    out.step_token_budget = static_cast<std::int32_t>(config.engine.step_token_budget);
    out.kv_cache_bytes = config.engine.kv_cache_mib << 20;
    out.isa = config.engine.isa;
    out.pin_threads = config.engine.pin_threads;
    return out;
}

// Waits for the end of one sequence.
class GateSink final : public engine::TokenSink {
public:
    engine::PushResult push(const engine::TokenEvent& event) override {
        if (!event.finish) return engine::PushResult::kAccepted;
        {
            const std::lock_guard lock(mutex_);
            end_ = event;
        }
        ended_.notify_all();
        return engine::PushResult::kAccepted;
    }
    std::optional<engine::TokenEvent> wait() {
        std::unique_lock lock(mutex_);
        ended_.wait_for(lock, std::chrono::microseconds(kGateLimit_us), [&] { return end_.has_value(); });
        return end_;
    }

private:
    std::mutex mutex_;
    std::condition_variable ended_;
    std::optional<engine::TokenEvent> end_;
};

}  // namespace

Result<std::vector<ActiveVersion>> serving_versions(const ModelStore& store) {
    OSTAL_TRY(const auto versions, store.list());
    std::vector<ActiveVersion> out;
    for (const ModelVersion& version : versions) {
        if (version.is_serving) out.emplace_back(version.model, version.version);
    }
    return out;
}

Result<std::shared_ptr<LoadedModel>> load_stored_model(const ModelStore& store, const Config& config, const Clock& clock,
                                                       LogSink& log, const std::string& name, std::uint64_t version) {
    OSTAL_TRY(auto opened, store.open_version(name, version));
    auto model = std::make_shared<LoadedModel>();
    model->name = name;
    model->version = version;
    model->digest = opened.manifest.digest_hex();
    model->default_system = opened.manifest.default_system;
    model->license = opened.manifest.license;
    OSTAL_TRY(model->format, engine::parse_format(opened.manifest.format));
    OSTAL_TRY(model->engine, engine::Engine::load(engine_config(config), *opened.source, clock, log));
    OSTAL_TRYV(opened.source->check_unchanged());
    OSTAL_TRYV(engine::check_format(model->format, model->engine->tokenizer()));
    OSTAL_TRY(model->stop_tokens, engine::stop_tokens(model->format, model->engine->tokenizer()));
    model->token_texts = std::make_shared<const TokenTexts>(model->engine->tokenizer());
    model->loaded_us = clock.wall_now_us();
    return model;
}

Status answers_a_prompt(LoadedModel& model, const Clock& clock) {
    engine::ChatRequest chat;
    chat.messages.push_back({engine::Role::kUser, {{engine::ContentPart::Kind::kText, "Hello."}}, {}, {}, {}, false});
    engine::GenerationRequest request;
    OSTAL_TRY(request.prompt, engine::render_chat(model.format, model.engine->tokenizer(), chat, model.default_system));
    request.id = UINT64_MAX;
    request.max_tokens = kGateTokens;
    request.stop_tokens = model.stop_tokens;
    request.deadline_mono_us = clock.mono_now_us() + kGateLimit_us;
    const auto sink = std::make_shared<GateSink>();
    OSTAL_TRYV(model.engine->submit(std::move(request), sink));
    const auto end = sink->wait();
    if (!end) return fail(Code::kDeadlineExceeded, "the model did not answer its test prompt in time");
    if (end->error) return fail(*end->error);
    if (end->usage.completion_tokens < 1) return fail(Code::kInternal, "the model answered its test prompt with nothing");
    return {};
}

}  // namespace ostal
