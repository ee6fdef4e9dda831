// logits: log-probabilities after every position of given ids.
#include <algorithm>
#include <numeric>
#include <ostream>

#include "appliance/cli/ostal_engine/model.h"
#include "base/json.h"
#include "base/thread.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/model/kv_cache.h"
#include "engine/model/mixtral.h"
#include "engine/parallel/communicator.h"
#include "engine/runtime/sampler.h"

namespace ostal::engine_tool {
namespace {

constexpr std::int32_t kChunkRows = 32;  // ids in a step; all their logits are kept at once
constexpr std::int32_t kBlockTokens = 32;

json::Value position_value(std::int64_t position, std::span<const engine::TokenLogProb> top) {
    json::Array pairs;
    for (const engine::TokenLogProb& token : top) pairs.emplace_back(json::Array{token.id, token.log_prob});
    return json::Object{{"pos", position}, {"top", std::move(pairs)}};
}

}  // namespace

Command logits_command() {
    return {"logits",
            "log-probabilities of the next token after each id",
            "--model PATH --ids 1,2,3 --top K",
            "Output: one JSON array [{\"pos\": 0, \"top\": [[id, log-probability], ...]}, ...]; natural "
            "logarithms, of the\n"
            "whole vocabulary, highest first. No id is added to those given. Exit codes: 0 ok, 1 failed, 2 "
            "usage (also\n"
            "an id outside of the vocabulary, or more asked for than it has).",
            {model_option(),
             {"--ids", "LIST", "token ids, separated by commas"},
             {"--top", "K", "how many of the most likely tokens; default 5"},
             threads_option(),
             isa_option()}};
}

Status run_logits(const Arguments& arguments, const Terminal& terminal) {
    OSTAL_TRY(const std::int64_t threads,
              arguments.integer("--threads", 1, 1024, static_cast<std::int64_t>(physical_cpus().size())));
    OSTAL_TRY(const std::string isa, isa_of(arguments));
    OSTAL_TRY(auto backend,
              engine::make_cpu_backend(
                  {.isa = isa, .threads = static_cast<std::int32_t>(threads), .pin_threads = false}));
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    const engine::ModelConfig& config = model.files.config();
    OSTAL_TRY(const auto given, arguments.integers("--ids", 0, config.vocab - 1));
    OSTAL_TRY(const std::int64_t top_count,
              arguments.integer("--top", 1, config.vocab, std::min(5, config.vocab)));
    if (given.size() > static_cast<std::size_t>(config.context)) {
        return fail(Code::kContextLengthExceeded, std::to_string(given.size()) +
                                                      " ids, the model's context is " +
                                                      std::to_string(config.context) + " tokens");
    }
    const std::vector<engine::TokenId> ids(given.begin(), given.end());
    OSTAL_TRY(const engine::Weights weights,
              engine::load_weights(*model.source, model.files, static_cast<std::int32_t>(threads)));
    engine::KvCacheShape shape;
    shape.layers = config.layers;
    shape.kv_heads = config.kv_heads;
    shape.head_dim = config.head_dim;
    shape.block_tokens = kBlockTokens;
    shape.blocks = (static_cast<std::int32_t>(ids.size()) + kBlockTokens - 1) / kBlockTokens;
    OSTAL_TRY(engine::KvCache cache, engine::KvCache::create(shape));
    OSTAL_TRY(engine::Scratch scratch, engine::Scratch::create(config, kChunkRows, kChunkRows));
    std::vector<std::int32_t> table(static_cast<std::size_t>(shape.blocks));
    std::iota(table.begin(), table.end(), 0);

    engine::SingleComm comm;
    engine::BatchBuilder builder(kChunkRows, 1, shape.blocks);
    engine::Sampler sampler(config.vocab);
    std::vector<engine::TokenLogProb> top(static_cast<std::size_t>(top_count));
    backend->attach_thread();
    json::Array out;
    for (std::size_t first = 0; first < ids.size(); first += kChunkRows) {
        const std::span chunk =
            std::span(ids).subspan(first, std::min<std::size_t>(kChunkRows, ids.size() - first));
        builder.clear();
        builder.add(chunk, static_cast<std::int32_t>(first), table, engine::WantLogits::kAll);
        const engine::Logits logits =
            engine::forward(*backend, comm, weights, builder.batch(), cache, scratch).logits;
        for (std::size_t row = 0; row < chunk.size(); ++row) {
            const std::span values(logits.values.as<float>() + row * static_cast<std::size_t>(config.vocab),
                                   static_cast<std::size_t>(config.vocab));
            OSTAL_TRYV(sampler.log_probs(values, ids[first + row], top));
            out.push_back(position_value(static_cast<std::int64_t>(first + row), top));
        }
    }
    terminal.out << json::to_string(out) << "\n";
    return {};
}

}  // namespace ostal::engine_tool
