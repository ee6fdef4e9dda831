#include "engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/thread.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/io/model_files.h"
#include "engine/model/kv_cache.h"
#include "engine/model/mixtral.h"
#include "engine/parallel/communicator.h"
#include "engine/runtime/kv_plan.h"
#include "engine/runtime/step_loop.h"
#include "engine/source_tokenizer.h"

namespace ostal::engine {
namespace {

// forward() over weights that this object owns, on one rank.
class LoadedModel final : public StepModel {
public:
    LoadedModel(std::unique_ptr<Backend> backend, Weights weights, KvCache cache, Scratch scratch)
        : backend_(std::move(backend)),
          weights_(std::move(weights)),
          cache_(std::move(cache)),
          scratch_(std::move(scratch)) {}
    void attach_thread() override { backend_->attach_thread(); }
    StepOutput forward(const Batch& batch) override {
        return engine::forward(*backend_, comm_, weights_, batch, cache_, scratch_);
    }

private:
    std::unique_ptr<Backend> backend_;
    SingleComm comm_;
    Weights weights_;
    KvCache cache_;
    Scratch scratch_;
};

class LoadedEngine final : public Engine {
public:
    LoadedEngine(ModelInfo info, std::unique_ptr<Tokenizer> tokenizer, std::unique_ptr<LoadedModel> model,
                 StepLoopOptions options, const Clock& clock, LogSink& log)
        : info_(std::move(info)),
          tokenizer_(std::move(tokenizer)),
          model_(std::move(model)),
          loop_(std::move(options), *model_, *tokenizer_, clock, log) {}

    const ModelInfo& info() const override { return info_; }
    const Tokenizer& tokenizer() const override { return *tokenizer_; }
    Status submit(GenerationRequest request, std::shared_ptr<TokenSink> sink) override {
        return loop_.submit(std::move(request), std::move(sink));
    }
    Status submit_all(std::vector<Submission> submissions) override {
        return loop_.submit_all(std::move(submissions));
    }
    void cancel(RequestId id) override { loop_.cancel(id); }
    EngineStats stats() const override { return loop_.stats(); }
    void drain(std::int64_t limit_us) override { loop_.drain(limit_us); }

private:
    const ModelInfo info_;
    const std::unique_ptr<Tokenizer> tokenizer_;
    const std::unique_ptr<LoadedModel> model_;
    StepLoop loop_;  // last: its thread uses all of the above
};

Status check(const EngineConfig& config) {
    const auto check_range = [](const char* name, std::int64_t value, std::int64_t least,
                                std::int64_t most) -> Status {
        if (value >= least && value <= most) return {};
        return fail(Code::kInvalidArgument, std::string(name) + " is " + std::to_string(value) +
                                                ", expected " + std::to_string(least) + " to " +
                                                std::to_string(most));
    };
    OSTAL_TRYV(check_range("threads", config.threads, 0, 1024));
    OSTAL_TRYV(check_range("max_context_tokens", config.max_context_tokens, 0, 1 << 24));
    OSTAL_TRYV(check_range("max_sequences", config.max_sequences, 1, 4096));
    OSTAL_TRYV(check_range("max_queue", config.max_queue, 1, 1 << 20));
    OSTAL_TRYV(check_range("step_token_budget", config.step_token_budget, 1, 1 << 16));
    OSTAL_TRYV(check_range("kv_block_tokens", config.kv_block_tokens, 1, kMaxBlockTokens));
    OSTAL_TRYV(check_range("kv_cache_bytes", config.kv_cache_bytes, 0, std::int64_t{1} << 50));
    OSTAL_TRYV(check_range("full_sink_limit_us", config.full_sink_limit_us, 0, std::int64_t{1} << 50));
    return {};
}

std::int64_t ram_bytes() {
    return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
}

ModelInfo describe(const ModelFiles& files, const Backend& backend, std::int32_t context_length) {
    const ModelConfig& config = files.config();
    ModelInfo info;
    info.architecture = config.architecture;
    info.weight_types = files.weight_types();
    info.isa = std::string(backend.isa());
    info.parameters = files.parameters();
    info.weight_bytes = static_cast<std::int64_t>(files.weight_bytes());
    info.layers = config.layers;
    info.dim = config.dim;
    info.vocab_size = config.vocab;
    info.context_length = context_length;
    info.experts = config.experts;
    info.experts_per_token = config.experts_per_token;
    return info;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::load(const EngineConfig& config, const WeightSource& source,
                                             const Clock& clock, LogSink& log) {
    // Cheap and likely failures first; the weights come when nothing else can go wrong but memory.
    OSTAL_TRYV(check(config));
    OSTAL_TRY(const ModelFiles files, ModelFiles::open(source));
    const ModelConfig& model = files.config();
    if (model.head_dim > kMaxHeadDim) {
        return fail(Code::kUnsupported, "head_dim is " + std::to_string(model.head_dim) +
                                            ", this build computes up to " + std::to_string(kMaxHeadDim));
    }
    OSTAL_TRY(auto tokenizer, load_source_tokenizer(source, files));
    const std::int32_t threads =
        config.threads > 0 ? config.threads : static_cast<std::int32_t>(physical_cpus().size());
    OSTAL_TRY(auto backend, make_cpu_backend({config.isa, threads, config.pin_threads}));

    KvCacheShape shape;
    shape.layers = model.layers;
    shape.kv_heads = model.kv_heads;
    shape.head_dim = model.head_dim;
    shape.block_tokens = config.kv_block_tokens;
    OSTAL_TRY(const KvPlan plan, plan_kv_cache(config, model.context, shape.block_bytes(), ram_bytes()));
    shape.blocks = plan.blocks;
    if (plan.context_length < model.context && plan.context_length != config.max_context_tokens) {
        log.warning("the KV cache is smaller than one sequence of the model's context",
                    {{"context_length", std::to_string(plan.context_length)},
                     {"model_context", std::to_string(model.context)}});
    }
    OSTAL_TRY(auto cache, KvCache::create(shape));
    OSTAL_TRY(auto scratch,
              Scratch::create(model, config.max_sequences + config.step_token_budget, config.max_sequences));
    OSTAL_TRY(auto weights, load_weights(source, files, threads));

    StepLoopOptions options;
    options.vocab_size = model.vocab;
    options.dim = model.dim;
    options.context_length = plan.context_length;
    options.max_sequences = config.max_sequences;
    options.max_queue = config.max_queue;
    options.step_token_budget = config.step_token_budget;
    options.kv_blocks = plan.blocks;
    options.kv_block_tokens = config.kv_block_tokens;
    options.full_sink_limit_us = config.full_sink_limit_us;
    options.eos = model.eos;
    const TokenId eos = tokenizer->eos();
    if (eos >= 0 && std::find(options.eos.begin(), options.eos.end(), eos) == options.eos.end()) {
        options.eos.push_back(eos);
    }

    ModelInfo info = describe(files, *backend, plan.context_length);
    log.info("model loaded", {{"architecture", info.architecture},
                              {"weight_types", info.weight_types},
                              {"isa", info.isa},
                              {"threads", std::to_string(threads)},
                              {"context_length", std::to_string(info.context_length)},
                              {"kv_blocks", std::to_string(plan.blocks)}});
    auto loaded = std::make_unique<LoadedModel>(std::move(backend), std::move(weights), std::move(cache),
                                                std::move(scratch));
    return std::make_unique<LoadedEngine>(std::move(info), std::move(tokenizer), std::move(loaded),
                                          std::move(options), clock, log);
}

}  // namespace ostal::engine
