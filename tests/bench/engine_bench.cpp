// engine_bench MODEL [--prefill N] [--decode N] [--batch N] [--isa NAME] [--threads N]
//
// Tokens per second of forward() alone: a prompt in chunks of 256, then steps of `batch` sequences with one
// token each. MODEL is a folder or a .gguf file. Without --isa and --threads: all of scalar, avx2, avx512 with 1 and
// 2 threads. Each figure is the best of three runs: other work on the machine only ever makes it slower.
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/io/weight_source.h"
#include "tests/support/model_runner.h"

namespace ostal::test {
namespace {

struct Options {
    std::string model;
    std::string isa;
    std::int32_t threads = 0;
    std::int32_t prefill = 256;
    std::int32_t decode = 64;
    std::int32_t batch = 1;
};

double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// The best rates of several runs.
struct Rate {
    double wall = 0;
    double cpu = 0;
};

class Stopwatch {
public:
    explicit Stopwatch(const Clock& clock)
        : clock_(clock), wall_us_(clock.mono_now_us()), cpu_(cpu_seconds()) {}
    void record(std::int32_t tokens, Rate& best) const {
        best.wall =
            std::max(best.wall, tokens / (static_cast<double>(clock_.mono_now_us() - wall_us_) * 1e-6));
        best.cpu = std::max(best.cpu, tokens / (cpu_seconds() - cpu_));
    }

private:
    const Clock& clock_;
    std::int64_t wall_us_;
    double cpu_;
};

void measure(const engine::WeightSource& source, const Options& options, const std::string& isa,
             std::int32_t threads) {
    constexpr std::int32_t kChunk = 256;
    RunnerOptions runner_options;
    runner_options.isa = isa;
    runner_options.threads = threads;
    runner_options.block_tokens = 32;
    runner_options.max_rows = std::max(kChunk, options.batch);
    runner_options.max_sequences = options.batch;
    ModelRunner runner(source, runner_options);
    SystemClock clock;
    SeededRandom random(1);
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < options.prefill + options.decode; ++i) {
        ids.push_back(
            static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(runner.config().vocab))));
    }
    const std::span<const std::int32_t> all(ids);
    Rate prefill;
    Rate decode;
    for (int round = 0; round < 3; ++round) {
        const Stopwatch prefill_watch(clock);
        for (std::int32_t slot = 0; slot < options.batch; ++slot) {
            runner.clear(slot);
            for (std::int32_t first = 0; first < options.prefill; first += kChunk) {
                const auto count = static_cast<std::size_t>(std::min(kChunk, options.prefill - first));
                const Chunk chunk{slot, all.subspan(static_cast<std::size_t>(first), count),
                                  engine::WantLogits::kLast};
                runner.step({&chunk, 1});
            }
        }
        prefill_watch.record(options.prefill * options.batch, prefill);
        const Stopwatch decode_watch(clock);
        for (std::int32_t i = 0; i < options.decode; ++i) {
            std::vector<Chunk> chunks;
            for (std::int32_t slot = 0; slot < options.batch; ++slot) {
                chunks.push_back({slot, all.subspan(static_cast<std::size_t>(options.prefill + i), 1),
                                  engine::WantLogits::kLast});
            }
            runner.step(chunks);
        }
        decode_watch.record(options.decode * options.batch, decode);
    }
    std::printf(
        "%-7s %d thread(s): prefill %d: %.0f tokens/s (%.0f a CPU second), decode of %d: %.1f (%.1f)\n",
        isa.c_str(), threads, options.prefill, prefill.wall, prefill.cpu, options.batch, decode.wall,
        decode.cpu);
}

int run(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto number = [&](std::int32_t& to) {
            const std::string_view text = i + 1 < argc ? argv[++i] : "";
            return std::from_chars(text.data(), text.data() + text.size(), to).ec == std::errc() && to > 0;
        };
        bool good = true;
        if (word == "--prefill")
            good = number(options.prefill);
        else if (word == "--decode")
            good = number(options.decode);
        else if (word == "--batch")
            good = number(options.batch);
        else if (word == "--threads")
            good = number(options.threads);
        else if (word == "--isa" && i + 1 < argc)
            options.isa = argv[++i];
        else if (options.model.empty() && !word.starts_with("-"))
            options.model = word;
        else
            good = false;
        if (!good) options.model.clear(), i = argc;
    }
    if (options.model.empty()) {
        std::fprintf(stderr,
                     "usage: engine_bench MODEL [--prefill N] [--decode N] [--batch N] [--isa NAME] "
                     "[--threads N]\n");
        return 2;
    }
    const auto source = engine::FolderSource::open(options.model);
    if (!source) {
        std::fprintf(stderr, "%s\n", source.error().to_string().c_str());
        return 1;
    }
    for (const std::string isa : {"scalar", "avx2", "avx512"}) {
        if (!options.isa.empty() && options.isa != isa) continue;
        if (!engine::make_cpu_backend({.isa = isa, .threads = 1, .pin_threads = false})) continue;
        for (const std::int32_t threads : {1, 2}) {
            if (options.threads == 0) measure(**source, options, isa, threads);
        }
        if (options.threads > 0) measure(**source, options, isa, options.threads);
    }
    return 0;
}

}  // namespace
}  // namespace ostal::test

int main(int argc, char** argv) { return ostal::test::run(argc, argv); }
