// The hidden states that forward() gives for embeddings: against the naive model, and the same to the bit in
// any chunks and company.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "engine/model/mixtral.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

using test::Chunk;
using test::MemorySource;
using test::ModelRunner;
using test::RunnerOptions;
using test::TensorReader;
using test::TinyModel;
using test::TinyModelSpec;

TinyModelSpec small_spec(std::int32_t experts, std::uint64_t seed) {
    TinyModelSpec spec;
    spec.architecture = experts > 0 ? "mixtral" : "llama";
    spec.experts = experts;
    spec.experts_per_token = experts > 0 ? 2 : 0;
    spec.context = 64;
    spec.seed = seed;
    return spec;
}

std::vector<std::int32_t> random_ids(std::uint64_t seed, std::size_t count, std::int32_t vocab) {
    SeededRandom random(seed);
    std::vector<std::int32_t> ids(count);
    for (auto& id : ids) id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab)));
    return ids;
}

// The hidden states [T, D] of slot 0's ids, `chunk` tokens a step, with a token of slot 1 before each chunk.
std::vector<float> hidden_of(ModelRunner& runner, std::span<const std::int32_t> ids, std::size_t chunk,
                             bool company) {
    runner.clear(0);
    runner.clear(1);
    std::vector<float> out;
    for (std::size_t first = 0; first < ids.size(); first += chunk) {
        const auto part = ids.subspan(first, std::min(chunk, ids.size() - first));
        std::vector<Chunk> chunks;
        if (company) chunks.push_back({1, ids.subspan(first, 1), WantLogits::kLast});
        chunks.push_back({0, part, WantLogits::kNone, true});
        const StepOutput output = runner.full_step(chunks);
        EXPECT_EQ(output.logits.values.rows(), company ? 1 : 0);
        const std::int64_t offset = company ? 1 : 0;
        EXPECT_EQ(output.hidden.rows(), offset + static_cast<std::int64_t>(part.size()));
        for (std::size_t i = 0; i < part.size(); ++i) {
            const float* row = output.hidden.row<float>(offset + static_cast<std::int64_t>(i));
            out.insert(out.end(), row, row + output.hidden.columns());
        }
    }
    return out;
}

TEST(Hidden, StatesAreTheNaiveModelsInAnyChunksAndCompany) {
    for (const std::int32_t experts : {0, 4}) {
        MemorySource source;
        std::vector<double> naive;
        std::vector<std::int32_t> ids;
        // A seed whose routers never decide by less than rounding.
        for (std::uint64_t seed = 1;; ++seed) {
            ASSERT_LT(seed, 50U);
            const TinyModelSpec spec = small_spec(experts, seed);
            source = TinyModel(spec).folder();
            TensorReader tensors(source);
            ids = random_ids(seed, 29, spec.vocab);
            std::vector<double> margins;
            naive.clear();
            (void)test::naive_forward(
                tensors.config(), [&](const std::string& name) -> const auto& { return tensors(name); }, ids,
                &margins, &naive);
            if (margins.empty() || *std::min_element(margins.begin(), margins.end()) > 1e-3) break;
        }
        for (const char* isa : {"scalar", ""}) {
            RunnerOptions options;
            options.isa = isa;
            options.threads = 2;
            ModelRunner runner(source, options);
            const std::vector<float> whole = hidden_of(runner, ids, ids.size(), false);
            ASSERT_EQ(whole.size(), naive.size());
            for (std::size_t i = 0; i < naive.size(); ++i) {
                ASSERT_NEAR(static_cast<double>(whole[i]), naive[i], 1e-4) << i;
            }
            for (const std::size_t chunk : {1U, 4U, 29U}) {
                for (const bool company : {false, true}) {
                    const std::vector<float> cut = hidden_of(runner, ids, chunk, company);
                    ASSERT_EQ(cut.size(), whole.size());
                    EXPECT_EQ(std::memcmp(cut.data(), whole.data(), whole.size() * sizeof(float)), 0)
                        << chunk << " " << company;
                }
            }
        }
    }
}

TEST(Hidden, NobodyAskedNothingGiven) {
    const MemorySource source = TinyModel(small_spec(0, 1)).folder();
    ModelRunner runner(source, {});
    const std::vector<std::int32_t> ids = {1, 2, 3};
    const Chunk chunk[] = {{0, ids, WantLogits::kLast}};
    EXPECT_TRUE(runner.full_step(chunk).hidden.empty());
}

}  // namespace
}  // namespace ostal::engine
