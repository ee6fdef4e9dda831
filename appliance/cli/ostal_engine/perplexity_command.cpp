// perplexity: how well a model predicts a text.
//
// The text becomes ids t_0 .. t_{T-1} (bos in front where the model wants one). Windows of at most N ids
// begin at 0, S, 2S, ...; the last is the first that reaches the end. In each, the model predicts every id
// that no earlier window has predicted, but never the window's first, from all ids before it in the window:
// nll_i = -ln p(t_i | t_begin .. t_{i-1}). Perplexity = exp(mean nll); its standard error is perplexity times
// the standard deviation of nll over sqrt(count), as if the predictions were independent.
#include <algorithm>
#include <cmath>
#include <ostream>

#include "appliance/cli/ostal_engine/scoring.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/runtime/sampler.h"
#include "engine/source_tokenizer.h"

namespace ostal::engine_tool {
namespace {

constexpr std::uint64_t kMaxTextBytes = 64ULL << 20U;
constexpr std::int64_t kUsualContext = 2048;

// Mean and standard error of a row of numbers (Welford's recurrence).
class Mean {
public:
    void add(double value) {
        ++count_;
        const double before = value - mean_;
        mean_ += before / static_cast<double>(count_);
        squares_ += before * (value - mean_);
    }
    std::int64_t count() const { return count_; }
    double mean() const { return mean_; }
    double standard_error() const {
        const auto n = static_cast<double>(count_);
        return count_ < 2 ? 0.0 : std::sqrt(squares_ / (n - 1.0) / n);
    }

private:
    std::int64_t count_ = 0;
    double mean_ = 0.0;
    double squares_ = 0.0;
};

Result<std::vector<engine::TokenId>> read_ids(const Arguments& arguments, const OpenModel& model) {
    OSTAL_TRY(const std::string path, arguments.required("--file"));
    PosixFiles files;
    OSTAL_TRY(const Bytes text, read_file(files, path, kMaxTextBytes));
    OSTAL_TRY(const auto tokenizer, engine::load_source_tokenizer(*model.source, model.files));
    auto ids = encode_text(*tokenizer, as_text(text), true);
    if (!ids) return fail(std::move(ids).error().with("while reading " + path));
    if (ids->size() >= 2) return ids;
    return fail(Code::kInvalidArgument, path + " gives " + std::to_string(ids->size()) +
                                            " tokens; at least two are needed to predict one");
}

}  // namespace

Command perplexity_command() {
    return {"perplexity",
            "negative log-likelihood of a text",
            "--model PATH --file TEXT [--context N] [--stride S] [--json]",
            "The text's ids (with bos where the model wants one) are cut into windows of N ids that begin at "
            "0, S, 2S, ...\n"
            "Each id that no earlier window has predicted, but a window's first, is predicted from all ids "
            "before it in\n"
            "its window. nll = -ln(probability); perplexity = exp(mean nll); standard_error is that of the "
            "perplexity:\n"
            "perplexity * deviation(nll) / sqrt(predicted).\n"
            "Output: a line each for tokens, predicted, nll (sum), mean_nll, perplexity, standard_error, "
            "context, "
            "stride,\n"
            "or with --json an object of them. Exit codes: 0 ok, 1 failed, 2 usage.",
            {model_option(),
             {"--file", "TEXT", "a UTF-8 text file"},
             {"--context", "N", "ids in a window; default: the model's context, at most 2048"},
             {"--stride", "S", "ids from one window to the next, at most N; default N / 2"},
             {"--json", "", "one JSON object"},
             threads_option(),
             isa_option()}};
}

Status run_perplexity(const Arguments& arguments, const Terminal& terminal) {
    OSTAL_TRYV(threads_of(arguments));
    OSTAL_TRYV(isa_of(arguments));
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    const engine::ModelConfig& config = model.files.config();
    OSTAL_TRY(const std::int64_t context,
              arguments.integer("--context", 2, config.context,
                                std::min<std::int64_t>(std::max(config.context, 2), kUsualContext)));
    OSTAL_TRY(const std::int64_t stride, arguments.integer("--stride", 1, context, context / 2));
    OSTAL_TRY(const std::vector<engine::TokenId> ids, read_ids(arguments, model));
    const auto window = std::min(static_cast<std::size_t>(context), ids.size());
    OSTAL_TRY(Scorer scorer, Scorer::create(arguments, model, window));

    engine::Sampler sampler(config.vocab);
    Mean nll;
    std::size_t predicted = 1;  // ids before this one are done; the text's first is never predicted
    for (std::size_t begin = 0; predicted < ids.size(); begin += static_cast<std::size_t>(stride)) {
        const std::size_t end = std::min(begin + window, ids.size());
        const std::size_t first = std::max(predicted, begin + 1);
        // The logits after an id are those of the next one; those after the window's last are not used.
        const auto score = [&](std::size_t position, std::span<const float> logits) -> Status {
            OSTAL_TRY(const double log_prob, sampler.log_probs(logits, ids[begin + position + 1], {}));
            nll.add(-log_prob);
            return {};
        };
        if (first < end) {
            OSTAL_TRYV(scorer.run(std::span(ids).subspan(begin, end - begin - 1), first - begin - 1, score));
        }
        predicted = end;
    }
    const double perplexity = std::exp(nll.mean());
    if (!std::isfinite(perplexity)) return fail(Code::kInternal, "the perplexity is beyond every number");
    const json::Object found{{"tokens", static_cast<std::int64_t>(ids.size())},
                             {"predicted", nll.count()},
                             {"nll", nll.mean() * static_cast<double>(nll.count())},
                             {"mean_nll", nll.mean()},
                             {"perplexity", perplexity},
                             {"standard_error", perplexity * nll.standard_error()},
                             {"context", context},
                             {"stride", stride}};
    if (arguments.has("--json")) {
        terminal.out << json::to_string(found) << "\n";
        return {};
    }
    for (const auto& [name, value] : found) terminal.out << name << ": " << json::to_string(value) << "\n";
    return {};
}

}  // namespace ostal::engine_tool
