// A model that reads ids and shows the logits after each of them: what `logits` and `perplexity` share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "appliance/cli/ostal_engine/model.h"
#include "engine/request.h"

namespace ostal::engine_tool {

class Scorer {
public:
    // Loads the weights of an open model; --threads and --isa of the arguments. `longest`: of a sequence, in
    // ids; above the model's context: kContextLengthExceeded. The model outlives the scorer.
    static Result<Scorer> create(const Arguments& arguments, const OpenModel& model, std::size_t longest);
    Scorer(Scorer&& other) noexcept;
    ~Scorer();

    // The logits [V] after ids[position]; valid during the call.
    using Row = std::function<Status(std::size_t position, std::span<const float> logits)>;
    // Runs ids as one sequence from position 0 and calls `row` for the positions from `first` on, rising. A
    // failure of `row` ends the run. ids are below V: CHECK.
    Status run(std::span<const engine::TokenId> ids, std::size_t first, const Row& row);

private:
    struct State;
    explicit Scorer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// --threads, or the physical cores.
Result<std::int32_t> threads_of(const Arguments& arguments);

}  // namespace ostal::engine_tool
