// bench: tokens per second of prefill and decode, through the engine as a server would use it.
#include <algorithm>
#include <iomanip>
#include <ostream>
#include <sstream>

#include "appliance/cli/ostal_engine/generation.h"
#include "appliance/cli/ostal_engine/model.h"
#include "base/json.h"
#include "base/random.h"
#include "base/thread.h"

namespace ostal::engine_tool {
namespace {

struct Plan {
    std::int64_t prompt = 0;
    std::int64_t generated = 0;
    std::int64_t repeat = 0;
    std::vector<std::int64_t> batches;
};

struct Run {
    std::int64_t batch = 0;
    std::int64_t prefill_us = 0;      // from the first submit() to the last first token
    std::int64_t decode_us = 0;       // from there to the last token
    std::int64_t decode_tokens = 0;   // that came in this time
    std::int64_t first_token_us = 0;  // of the sequence that had it first

    double prefill_rate(std::int64_t prompt) const {
        return static_cast<double>(batch * prompt) * 1e6 /
               static_cast<double>(std::max<std::int64_t>(prefill_us, 1));
    }
    double decode_rate() const {
        return static_cast<double>(decode_tokens) * 1e6 /
               static_cast<double>(std::max<std::int64_t>(decode_us, 1));
    }
};

// Notes when each token came; push() is the only place that looks at the clock.
class TimingSink final : public engine::TokenSink {
public:
    TimingSink(const Clock& clock, std::size_t tokens) : clock_(clock) { arrivals_.reserve(tokens); }
    engine::PushResult push(const engine::TokenEvent& event) override {
        const std::int64_t now = clock_.mono_now_us();
        const std::lock_guard lock(mutex_);
        arrivals_.insert(arrivals_.end(), event.tokens.size(), now);
        if (event.error) error_ = event.error;
        if (event.finish) {
            finished_ = true;
            changed_.notify_all();
        }
        return engine::PushResult::kAccepted;
    }
    // Waits for the end. One time for each token.
    Result<std::vector<std::int64_t>> wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return finished_; });
        if (error_) return fail(*error_);
        if (arrivals_.empty()) return fail(Code::kInternal, "a sequence ended without a token");
        return arrivals_;
    }

private:
    const Clock& clock_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::int64_t> arrivals_;
    bool finished_ = false;
    std::optional<Error> error_;
};

// Ids of requests, which are unique for the life of an engine, and prompts.
struct Source {
    engine::RequestId next_id = 1;
    SeededRandom random{1};
};

// Sequences of `prompt` random ids that all end after `generated` tokens, submitted at once. Returns the
// arrival times of each.
Result<std::vector<std::vector<std::int64_t>>> answer(engine::Engine& engine, const Clock& clock,
                                                      std::int64_t batch, std::int64_t prompt,
                                                      std::int64_t generated, Source& source,
                                                      std::int64_t& began_us) {
    std::vector<std::shared_ptr<TimingSink>> sinks;
    std::vector<engine::GenerationRequest> requests;
    for (std::int64_t i = 0; i < batch; ++i) {
        engine::GenerationRequest request;
        request.id = source.next_id++;
        request.max_tokens = static_cast<std::int32_t>(generated);
        request.ignore_eos = true;
        for (std::int64_t k = 0; k < prompt; ++k) {
            request.prompt.push_back(static_cast<engine::TokenId>(
                source.random.below(static_cast<std::uint64_t>(engine.info().vocab_size))));
        }
        requests.push_back(std::move(request));
        sinks.push_back(std::make_shared<TimingSink>(clock, static_cast<std::size_t>(generated)));
    }
    began_us = clock.mono_now_us();
    for (std::size_t i = 0; i < requests.size(); ++i)
        OSTAL_TRYV(engine.submit(std::move(requests[i]), sinks[i]));
    std::vector<std::vector<std::int64_t>> arrivals;
    for (const auto& sink : sinks) {
        OSTAL_TRY(auto times, sink->wait());
        arrivals.push_back(std::move(times));
    }
    return arrivals;
}

Result<Run> measure(engine::Engine& engine, const Clock& clock, std::int64_t batch, const Plan& plan,
                    Source& source) {
    Run run;
    run.batch = batch;
    std::int64_t began = 0;
    // Prefill alone: each sequence is over with its first token, so no decode shares the time.
    OSTAL_TRY(const auto first, answer(engine, clock, batch, plan.prompt, 1, source, began));
    std::int64_t last_first = began;
    std::int64_t first_first = first[0].front();
    for (const auto& times : first) {
        last_first = std::max(last_first, times.front());
        first_first = std::min(first_first, times.front());
    }
    run.prefill_us = last_first - began;
    run.first_token_us = first_first - began;
    // Decode: from when all sequences have a token; what came before is not counted.
    OSTAL_TRY(const auto all, answer(engine, clock, batch, plan.prompt, plan.generated + 1, source, began));
    std::int64_t from = began;
    std::int64_t to = began;
    for (const auto& times : all) {
        from = std::max(from, times.front());
        to = std::max(to, times.back());
    }
    for (const auto& times : all) {
        run.decode_tokens +=
            std::count_if(times.begin(), times.end(), [&](std::int64_t time) { return time > from; });
    }
    // Tokens of the others from the step that made the last first token may come a moment after it: not
    // counted.
    run.decode_tokens = std::max<std::int64_t>(run.decode_tokens - (batch - 1), 1);
    run.decode_us = to - from;
    return run;
}

// The run whose decode rate is in the middle.
Run median(std::vector<Run> runs) {
    std::sort(runs.begin(), runs.end(),
              [](const Run& a, const Run& b) { return a.decode_rate() < b.decode_rate(); });
    Run out = runs[runs.size() / 2];
    std::sort(runs.begin(), runs.end(),
              [](const Run& a, const Run& b) { return a.prefill_us < b.prefill_us; });
    out.prefill_us = runs[runs.size() / 2].prefill_us;
    out.first_token_us = runs[runs.size() / 2].first_token_us;
    return out;
}

double seconds(std::int64_t us) { return static_cast<double>(us) / 1e6; }

json::Value run_value(const Run& run, const Plan& plan) {
    return json::Object{{"batch", run.batch},
                        {"prefill_tokens", run.batch * plan.prompt},
                        {"prefill_s", seconds(run.prefill_us)},
                        {"prefill_tokens_per_s", run.prefill_rate(plan.prompt)},
                        {"first_token_s", seconds(run.first_token_us)},
                        {"decode_tokens", run.decode_tokens},
                        {"decode_s", seconds(run.decode_us)},
                        {"decode_tokens_per_s", run.decode_rate()}};
}

json::Value report(const engine::ModelInfo& info, std::int64_t threads, double load_s, const Plan& plan,
                   const std::vector<Run>& runs) {
    json::Array values;
    for (const Run& run : runs) values.push_back(run_value(run, plan));
    return json::Object{{"model", json::Object{{"architecture", info.architecture},
                                               {"parameters", info.parameters},
                                               {"weight_types", info.weight_types},
                                               {"weight_bytes", info.weight_bytes}}},
                        {"isa", info.isa},
                        {"threads", threads},
                        {"load_s", load_s},
                        {"prompt", plan.prompt},
                        {"gen", plan.generated},
                        {"repeat", plan.repeat},
                        {"runs", std::move(values)}};
}

std::string table(const engine::ModelInfo& info, std::int64_t threads, double load_s, const Plan& plan,
                  const std::vector<Run>& runs) {
    std::ostringstream out;
    out << std::fixed << std::setprecision(1);
    out << info.architecture << ", " << static_cast<double>(info.parameters) / 1e6 << " M parameters, "
        << info.weight_types << ", " << info.isa << ", " << threads << " threads; loaded in " << load_s
        << " s\n";
    out << "prompt " << plan.prompt << ", generated " << plan.generated << "; tokens/s, median of "
        << plan.repeat << "\n";
    out << std::setw(8) << "batch" << std::setw(12) << "prefill" << std::setw(12) << "decode"
        << "\n";
    for (const Run& run : runs) {
        out << std::setw(8) << run.batch << std::setw(12) << run.prefill_rate(plan.prompt) << std::setw(12)
            << run.decode_rate() << "\n";
    }
    return out.str();
}

// A cache for the largest batch of whole sequences, so that nothing is preempted while it is measured.
std::int64_t cache_bytes(const engine::ModelConfig& model, std::int64_t batch, std::int64_t tokens,
                         std::int32_t block_tokens) {
    const std::int64_t blocks = (tokens + block_tokens - 1) / block_tokens;
    const std::int64_t token_bytes = 2LL * model.layers * model.kv_heads * model.head_dim * 4;
    return batch * blocks * block_tokens * token_bytes;
}

}  // namespace

Command bench_command() {
    return {"bench",
            "tokens per second of prefill and decode",
            "--model PATH [--threads N] [--prompt P] [--gen G] [--batch 1,4] [--json]",
            "Sequences of random ids go through the engine as requests of a server do; times are wall time, "
            "of the\n"
            "whole engine (scheduling, sampling and text included), the median of --repeat runs after a "
            "warm-up.\n"
            "Output: a table, or with --json an object:\n"
            "  model                architecture, parameters, weight_types, weight_bytes\n"
            "  isa, threads         kernels and threads in use\n"
            "  load_s               seconds to load the model\n"
            "  prompt, gen, repeat  as asked for\n"
            "  runs                 one object a batch size:\n"
            "    batch                sequences at once\n"
            "    prefill_tokens       batch x prompt\n"
            "    prefill_s            from the first request to the last sequence's first token\n"
            "    prefill_tokens_per_s prefill_tokens / prefill_s\n"
            "    first_token_s        from the first request to the first token of any sequence\n"
            "    decode_tokens        tokens that came after every sequence had its first\n"
            "    decode_s             the time they took\n"
            "    decode_tokens_per_s  decode_tokens / decode_s, of all sequences together\n"
            "Exit codes: 0 ok, 1 failed, 2 usage.",
            {model_option(),
             threads_option(),
             {"--prompt", "P", "tokens of each prompt; default 512"},
             {"--gen", "G", "tokens generated after it; default 128"},
             {"--batch", "LIST", "batch sizes, separated by commas; default 1,4"},
             {"--repeat", "R", "runs of each; default 3"},
             {"--json", "", "one JSON object instead of a table"},
             isa_option()}};
}

Status run_bench(const Arguments& arguments, const Clock& clock, const Terminal& terminal) {
    Plan plan;
    OSTAL_TRY(plan.prompt, arguments.integer("--prompt", 1, 1 << 20, 512));
    OSTAL_TRY(plan.generated, arguments.integer("--gen", 1, 1 << 20, 128));
    OSTAL_TRY(plan.repeat, arguments.integer("--repeat", 1, 1000, 3));
    plan.batches = {1, 4};
    if (arguments.has("--batch")) {
        OSTAL_TRY(plan.batches, arguments.integers("--batch", 1, 1024));
    }
    OSTAL_TRY(const std::int64_t threads,
              arguments.integer("--threads", 1, 1024, static_cast<std::int64_t>(physical_cpus().size())));
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    const std::int64_t tokens = plan.prompt + plan.generated + 1;
    if (tokens > model.files.config().context) {
        return fail(Code::kContextLengthExceeded, "--prompt and --gen make " + std::to_string(tokens) +
                                                      " tokens, the model's context is " +
                                                      std::to_string(model.files.config().context));
    }
    const std::int64_t largest = *std::max_element(plan.batches.begin(), plan.batches.end());
    engine::EngineConfig config;
    config.threads = static_cast<std::int32_t>(threads);
    OSTAL_TRY(config.isa, isa_of(arguments));
    config.max_sequences = static_cast<std::int32_t>(largest);
    config.max_queue = static_cast<std::int32_t>(largest);
    config.max_context_tokens = static_cast<std::int32_t>(tokens);
    config.kv_cache_bytes = cache_bytes(model.files.config(), largest, tokens, config.kv_block_tokens);
    WarningLog log(terminal.err);
    const std::int64_t load_began = clock.mono_now_us();
    OSTAL_TRY(const auto engine, engine::Engine::load(config, *model.source, clock, log));
    const double load_s = seconds(clock.mono_now_us() - load_began);

    Source source;
    std::int64_t began = 0;
    OSTAL_TRYV(
        answer(*engine, clock, 1, plan.prompt, std::min<std::int64_t>(plan.generated, 4), source, began));
    std::vector<Run> runs;
    for (const std::int64_t batch : plan.batches) {
        std::vector<Run> repeated;
        for (std::int64_t i = 0; i < plan.repeat; ++i) {
            OSTAL_TRY(const Run run, measure(*engine, clock, batch, plan, source));
            repeated.push_back(run);
        }
        runs.push_back(median(std::move(repeated)));
    }
    if (arguments.has("--json")) {
        terminal.out << json::to_string(report(engine->info(), threads, load_s, plan, runs)) << "\n";
    } else {
        terminal.out << table(engine->info(), threads, load_s, plan, runs);
    }
    return {};
}

}  // namespace ostal::engine_tool
