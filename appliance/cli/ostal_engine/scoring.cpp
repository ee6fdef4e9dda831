#include "appliance/cli/ostal_engine/scoring.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/thread.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/model/kv_cache.h"
#include "engine/model/mixtral.h"
#include "engine/parallel/communicator.h"

namespace ostal::engine_tool {
namespace {

constexpr std::int32_t kChunkRows = 32;  // ids in a step; all their logits are kept at once
constexpr std::int32_t kBlockTokens = 32;

}  // namespace

struct Scorer::State {
    std::unique_ptr<engine::Backend> backend;
    engine::Weights weights;
    engine::KvCache cache;
    engine::Scratch scratch;
    engine::BatchBuilder builder;
    std::vector<std::int32_t> table;
    engine::SingleComm comm;
};

Scorer::Scorer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Scorer::Scorer(Scorer&& other) noexcept = default;
Scorer::~Scorer() = default;

Result<std::int32_t> threads_of(const Arguments& arguments) {
    OSTAL_TRY(const std::int64_t threads,
              arguments.integer("--threads", 1, 1024, static_cast<std::int64_t>(physical_cpus().size())));
    return static_cast<std::int32_t>(threads);
}

Result<Scorer> Scorer::create(const Arguments& arguments, const OpenModel& model, std::size_t longest) {
    OSTAL_TRY(const std::int32_t threads, threads_of(arguments));
    OSTAL_TRY(const std::string isa, isa_of(arguments));
    OSTAL_TRY(auto backend, engine::make_cpu_backend({.isa = isa, .threads = threads, .pin_threads = false}));
    const engine::ModelConfig& config = model.files.config();
    if (longest > static_cast<std::size_t>(config.context)) {
        return fail(Code::kContextLengthExceeded, std::to_string(longest) + " ids, the model's context is " +
                                                      std::to_string(config.context) + " tokens");
    }
    OSTAL_TRY(engine::Weights weights, engine::load_weights(*model.source, model.files, threads));
    engine::KvCacheShape shape;
    shape.layers = config.layers;
    shape.kv_heads = config.kv_heads;
    shape.head_dim = config.head_dim;
    shape.block_tokens = kBlockTokens;
    shape.blocks = (static_cast<std::int32_t>(longest) + kBlockTokens - 1) / kBlockTokens;
    OSTAL_TRY(engine::KvCache cache, engine::KvCache::create(shape));
    OSTAL_TRY(engine::Scratch scratch, engine::Scratch::create(config, kChunkRows, kChunkRows));
    std::vector<std::int32_t> table(static_cast<std::size_t>(shape.blocks));
    std::iota(table.begin(), table.end(), 0);
    backend->attach_thread();
    return Scorer(std::make_unique<State>(
        State{std::move(backend), std::move(weights), std::move(cache), std::move(scratch),
              engine::BatchBuilder(kChunkRows, 1, shape.blocks), std::move(table), engine::SingleComm()}));
}

Status Scorer::run(std::span<const engine::TokenId> ids, std::size_t first, const Row& row) {
    State& s = *state_;
    const auto vocab = static_cast<std::size_t>(s.weights.config.vocab);
    for (std::size_t begin = 0; begin < ids.size(); begin += kChunkRows) {
        const auto chunk = ids.subspan(begin, std::min<std::size_t>(kChunkRows, ids.size() - begin));
        const bool wanted = begin + chunk.size() > first;
        s.builder.clear();
        s.builder.add(chunk, static_cast<std::int32_t>(begin), s.table,
                      wanted ? engine::WantLogits::kAll : engine::WantLogits::kNone);
        const engine::Logits logits =
            engine::forward(*s.backend, s.comm, s.weights, s.builder.batch(), s.cache, s.scratch).logits;
        if (!wanted) continue;
        for (std::size_t i = first > begin ? first - begin : 0; i < chunk.size(); ++i)
            OSTAL_TRYV(row(begin + i, std::span(logits.values.as<float>() + i * vocab, vocab)));
    }
    return {};
}

}  // namespace ostal::engine_tool
