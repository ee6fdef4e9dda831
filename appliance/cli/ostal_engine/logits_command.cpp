// logits: log-probabilities after every position of given ids.
#include <algorithm>
#include <ostream>

#include "appliance/cli/ostal_engine/scoring.h"
#include "base/json.h"
#include "engine/runtime/sampler.h"

namespace ostal::engine_tool {
namespace {

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
    OSTAL_TRYV(threads_of(arguments));
    OSTAL_TRYV(isa_of(arguments));
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    const engine::ModelConfig& config = model.files.config();
    OSTAL_TRY(const auto given, arguments.integers("--ids", 0, config.vocab - 1));
    OSTAL_TRY(const std::int64_t top_count,
              arguments.integer("--top", 1, config.vocab, std::min(5, config.vocab)));
    const std::vector<engine::TokenId> ids(given.begin(), given.end());
    OSTAL_TRY(Scorer scorer, Scorer::create(arguments, model, ids.size()));
    engine::Sampler sampler(config.vocab);
    std::vector<engine::TokenLogProb> top(static_cast<std::size_t>(top_count));
    json::Array out;
    const auto show = [&](std::size_t position, std::span<const float> logits) -> Status {
        OSTAL_TRYV(sampler.log_probs(logits, ids[position], top));
        out.push_back(position_value(static_cast<std::int64_t>(position), top));
        return {};
    };
    OSTAL_TRYV(scorer.run(ids, 0, show));
    terminal.out << json::to_string(out) << "\n";
    return {};
}

}  // namespace ostal::engine_tool
