// forward() against its oracles, and the promise that a token's logits depend on its own sequence alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/backend/check/check_backend.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/model/mixtral.h"
#include "tests/support/allocation_count.h"
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

// Why this machine cannot run an ISA's kernels; empty: it can.
std::string lacking(const std::string& isa) {
    const auto backend = make_cpu_backend({.isa = isa, .threads = 1, .pin_threads = false});
    return backend ? std::string() : backend.error().to_string();
}

std::vector<std::int32_t> random_ids(std::uint64_t seed, std::size_t count, std::int32_t vocab) {
    SeededRandom random(seed);
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < count; ++i) {
        ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab))));
    }
    return ids;
}

// A model for the chain of oracles.
struct OracleCase {
    const char* name;
    TinyModelSpec spec;
    bool gguf = false;  // else a Hugging Face folder of spec.dtype
    DType matrices = DType::kF32;
    DType kv = DType::kF32;
};

TinyModelSpec dense(const char* architecture, std::int32_t dim, std::int32_t heads, std::int32_t kv_heads,
                    std::int32_t head_dim, std::int32_t ffn, std::int32_t vocab, bool tied) {
    TinyModelSpec spec;
    spec.architecture = architecture;
    spec.dim = dim;
    spec.heads = heads;
    spec.kv_heads = kv_heads;
    spec.head_dim = head_dim;
    spec.ffn = ffn;
    spec.vocab = vocab;
    spec.tied_embeddings = tied;
    spec.context = 64;
    return spec;
}

TinyModelSpec mixture(std::int32_t dim, std::int32_t heads, std::int32_t kv_heads, std::int32_t head_dim,
                      std::int32_t ffn, std::int32_t experts, std::int32_t active) {
    TinyModelSpec spec = dense("mixtral", dim, heads, kv_heads, head_dim, ffn, 389, false);
    spec.experts = experts;
    spec.experts_per_token = active;
    return spec;
}

TinyModelSpec typed(TinyModelSpec spec, DType dtype) {
    spec.dtype = dtype;
    return spec;
}

TinyModelSpec windowed(TinyModelSpec spec, std::vector<std::int32_t> windows) {
    spec.windows = std::move(windows);
    return spec;
}

// Of a model whose context of 64 tokens is 4 times the original one.
TinyModelSpec scaled(TinyModelSpec spec, RopeScaling scaling) {
    scaling.factor = 4.0;
    scaling.original_context = 16;
    spec.rope_scaling = scaling;
    return spec;
}

RopeScaling yarn(double attention_factor, bool truncate = true) {
    RopeScaling out;
    out.kind = RopeKind::kYarn;
    out.beta_fast = 4.0;
    out.beta_slow = 0.25;
    out.attention_factor = attention_factor;
    out.truncate = truncate;
    return out;
}

RopeScaling llama3() {
    RopeScaling out;
    out.kind = RopeKind::kLlama3;
    out.low_frequency_factor = 0.25;
    out.high_frequency_factor = 1.0;
    return out;
}

const double kYarnFactor = 1.0 + 0.1 * std::log(4.0);  // what YaRN takes for a factor of 4

std::vector<OracleCase> oracle_cases() {
    return {
        {"mistral_window", windowed(dense("mistral", 64, 4, 2, 16, 96, 384, false), {7})},
        {"mistral_window_1", windowed(dense("mistral", 64, 4, 2, 16, 96, 384, false), {1})},
        {"ministral_windows", windowed(dense("ministral", 64, 4, 2, 32, 96, 384, true), {0, 5})},
        {"mixtral_window_bf16_kv", windowed(mixture(64, 4, 2, 16, 96, 4, 2), {6}), false, DType::kBF16,
         DType::kBF16},
        {"gguf_windows", windowed(dense("llama", 64, 4, 2, 16, 96, 384, false), {5, 0}), true, DType::kF32},
        {"llama_linear", scaled(dense("llama", 64, 4, 2, 16, 96, 384, false), {.kind = RopeKind::kLinear})},
        {"llama_dynamic", scaled(dense("llama", 64, 4, 2, 16, 96, 384, false), {.kind = RopeKind::kDynamic})},
        {"llama_llama3", scaled(dense("llama", 64, 4, 2, 16, 96, 384, false), llama3())},
        {"mistral_yarn", scaled(dense("mistral", 64, 4, 2, 32, 96, 384, false), yarn(kYarnFactor))},
        {"mistral_yarn_no_truncate",
         scaled(dense("mistral", 64, 4, 2, 32, 96, 384, false), yarn(1.5, false))},
        {"mixtral_yarn", scaled(mixture(64, 4, 2, 16, 96, 4, 2), yarn(1.0))},
        {"gguf_divisors", scaled(dense("llama", 64, 4, 2, 16, 96, 384, false), {.kind = RopeKind::kDivisors}),
         true, DType::kF32},
        {"gguf_yarn", scaled(dense("llama", 64, 4, 2, 16, 96, 384, false), yarn(1.25)), true, DType::kF16},
        {"llama_f32", typed(dense("llama", 64, 4, 4, 16, 96, 384, false), DType::kF32)},
        {"llama_odd_f32", typed(dense("llama", 60, 3, 1, 20, 52, 387, true), DType::kF32)},
        {"mistral_f16", typed(dense("mistral", 96, 6, 2, 32, 160, 391, false), DType::kF16)},
        {"mistral_head64_bf16", typed(dense("mistral", 128, 3, 1, 64, 96, 401, true), DType::kBF16)},
        {"mistral_head128_bf16", typed(dense("mistral", 64, 4, 2, 128, 64, 384, false), DType::kBF16)},
        {"llama_q8_0", dense("llama", 64, 4, 2, 16, 96, 384, true), true, DType::kQ8_0},
        {"llama_q4_0", dense("llama", 160, 5, 1, 32, 224, 390, false), true, DType::kQ4_0},
        {"llama_q4_1", dense("llama", 96, 3, 3, 32, 128, 384, true), true, DType::kQ4_1},
        {"llama_q5_0", dense("llama", 96, 3, 1, 32, 160, 390, false), true, DType::kQ5_0},
        {"llama_q5_1", dense("llama", 64, 4, 2, 16, 96, 384, true), true, DType::kQ5_1},
        {"llama_q4_k", dense("llama", 256, 4, 2, 64, 512, 390, false), true, DType::kQ4_K},
        {"llama_q5_k", dense("llama", 256, 8, 2, 32, 256, 384, false), true, DType::kQ5_K},
        {"llama_q6_k", dense("llama", 512, 8, 4, 64, 256, 390, false), true, DType::kQ6_K},
        {"llama_gguf_f16", dense("llama", 64, 4, 2, 16, 96, 384, false), true, DType::kF16},
        {"mixtral_1_of_1", mixture(64, 4, 2, 16, 96, 1, 1)},
        {"mixtral_1_of_2", mixture(64, 4, 1, 16, 96, 2, 1)},
        {"mixtral_2_of_3", mixture(96, 6, 3, 16, 64, 3, 2)},
        {"mixtral_2_of_8", mixture(64, 8, 2, 32, 96, 8, 2)},
        {"mixtral_3_of_5_f32", typed(mixture(72, 4, 4, 18, 44, 5, 3), DType::kF32)},
        {"mixtral_8_of_8", mixture(64, 4, 2, 16, 96, 8, 8)},
        {"mixtral_q8_0", mixture(64, 4, 2, 16, 96, 4, 2), true, DType::kQ8_0},
        {"mixtral_q4_0", mixture(96, 4, 2, 32, 64, 8, 2), true, DType::kQ4_0},
        {"mixtral_q4_1", mixture(64, 2, 1, 64, 128, 4, 4), true, DType::kQ4_1},
        {"mixtral_q5_1", mixture(96, 6, 2, 16, 64, 4, 2), true, DType::kQ5_1},
        {"mixtral_q4_k", mixture(256, 4, 2, 64, 256, 4, 2), true, DType::kQ4_K},
        {"mixtral_q6_k", mixture(256, 8, 2, 32, 256, 3, 2), true, DType::kQ6_K},
        {"mixtral_bf16_kv", mixture(64, 4, 2, 16, 96, 4, 2), false, DType::kBF16, DType::kBF16},
    };
}

MemorySource source_of(const OracleCase& c) {
    const TinyModel model(c.spec);
    return c.gguf ? model.gguf(c.matrices) : model.folder();
}

// Weights are read exactly whatever their type, so one tolerance holds for all of them: the rounding of f32
// sums in logits of a standard deviation of about 3. A bf16 cache keeps 8 bits of keys and values.
double tolerance(const OracleCase& c) { return c.kv == DType::kBF16 ? 0.1 : 1e-4; }

class OracleTest : public testing::TestWithParam<OracleCase> {};

TEST_P(OracleTest, NaiveThenScalarThenAvx2ThenAvx512) {
    // A seed whose routers never decide by less than rounding.
    OracleCase c = GetParam();
    MemorySource source;
    std::vector<double> naive;
    std::vector<std::int32_t> ids;
    for (c.spec.seed = 1;; ++c.spec.seed) {
        ASSERT_LT(c.spec.seed, 50U);
        source = source_of(c);
        TensorReader tensors(source);
        ids = random_ids(c.spec.seed, 21, c.spec.vocab);
        std::vector<double> margins;
        naive = test::naive_forward(
            tensors.config(), [&](const std::string& name) -> const auto& { return tensors(name); }, ids,
            &margins);
        const double needed = c.kv == DType::kBF16 ? 0.03 : 1e-3;
        if (margins.empty() || *std::min_element(margins.begin(), margins.end()) > needed) break;
    }
    RunnerOptions options;
    options.kv = c.kv;
    ModelRunner scalar(source, options);
    const std::vector<float> expected = scalar.run(ids, 9);
    ASSERT_EQ(expected.size(), naive.size());
    for (std::size_t i = 0; i < naive.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(expected[i]), naive[i], tolerance(c)) << i;
    }

    const std::pair<std::string, std::string> links[] = {{"scalar", "avx2"}, {"avx2", "avx512"}};
    for (const auto& [before, isa] : links) {
        const std::string why = lacking(isa);
        if (!why.empty()) GTEST_SKIP() << "the chain ends at " << before << ": " << why;
        auto reference = make_cpu_backend({.isa = before, .threads = 1, .pin_threads = false});
        auto subject = make_cpu_backend({.isa = isa, .threads = 2, .pin_threads = false});
        CheckBackend check(**reference, **subject, {});
        ModelRunner runner(source, options, &check);
        const std::vector<float> got = runner.run(ids, 9);
        EXPECT_GT(check.calls(), 0);
        EXPECT_FALSE(check.first_difference()) << isa << ": " << check.first_difference()->to_string();
        for (std::size_t i = 0; i < naive.size(); ++i) {
            ASSERT_NEAR(static_cast<double>(got[i]), static_cast<double>(expected[i]), tolerance(c))
                << isa << " " << i;
            ASSERT_NEAR(static_cast<double>(got[i]), naive[i], tolerance(c)) << isa << " " << i;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Models, OracleTest, testing::ValuesIn(oracle_cases()),
                         [](const auto& c) { return std::string(c.param.name); });

// ---- Batch invariance

struct InvarianceCase {
    const char* isa;
    DType kv;
    bool gguf;
    DType matrices;
    std::vector<std::int32_t> windows = {};
};

class InvarianceTest : public testing::TestWithParam<InvarianceCase> {
protected:
    void SetUp() override {
        const std::string why = lacking(GetParam().isa);
        if (!why.empty()) GTEST_SKIP() << why;
        const bool wide = block_elements(GetParam().matrices) > 32;
        TinyModelSpec spec = wide ? mixture(256, 4, 2, 64, 256, 4, 2) : mixture(96, 6, 2, 16, 160, 5, 2);
        spec.windows = GetParam().windows;
        const TinyModel model(spec);
        source_ = GetParam().gguf ? model.gguf(GetParam().matrices) : model.folder();
    }
    RunnerOptions options(std::int32_t threads) const {
        RunnerOptions out;
        out.isa = GetParam().isa;
        out.kv = GetParam().kv;
        out.threads = threads;
        return out;
    }
    MemorySource source_;
};

bool bit_equal(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_P(InvarianceTest, ChunksAndThreadsDoNotChangeABit) {
    const std::vector<std::int32_t> ids = random_ids(5, 61, 389);
    ModelRunner whole(source_, options(1));
    const std::vector<float> expected = whole.run(ids, 61);
    for (std::int32_t threads = 1; threads <= 3; ++threads) {
        ModelRunner runner(source_, options(threads));
        for (const std::int32_t chunk : {1, 7, 32, 61}) {
            EXPECT_TRUE(bit_equal(runner.run(ids, chunk), expected))
                << threads << " threads, chunks of " << chunk;
        }
    }
}

TEST_P(InvarianceTest, ABatchDoesNotChangeABit) {
    const auto vocab = std::size_t{389};
    const std::vector<std::int32_t> ids[3] = {random_ids(6, 40, 389), random_ids(7, 33, 389),
                                              random_ids(8, 17, 389)};
    ModelRunner alone(source_, options(2));
    std::vector<float> expected[3];
    for (int s = 0; s < 3; ++s) expected[s] = alone.run(ids[s], 64);

    // Three sequences at different places, decodes and prefill chunks in one step, in changing company.
    ModelRunner together(source_, options(2));
    std::vector<float> got[3];
    std::size_t done[3] = {0, 0, 0};
    SeededRandom random(9);
    while (done[0] + done[1] + done[2] < ids[0].size() + ids[1].size() + ids[2].size()) {
        std::vector<Chunk> chunks;
        for (int s = 0; s < 3; ++s) {
            const std::size_t left = ids[s].size() - done[s];
            const std::size_t count =
                std::min<std::size_t>(left, random.below(2) == 0 ? 1 : random.below(12));
            if (count == 0) continue;
            const std::span<const std::int32_t> tokens = std::span(ids[s]).subspan(done[s], count);
            chunks.push_back({s, tokens, WantLogits::kAll});
        }
        if (chunks.empty()) continue;
        std::stable_sort(chunks.begin(), chunks.end(), [](const Chunk& a, const Chunk& b) {
            return (a.tokens.size() == 1) > (b.tokens.size() == 1);
        });
        const Logits logits = together.step(chunks);
        std::int64_t row = 0;
        for (const Chunk& chunk : chunks) {
            for (std::size_t i = 0; i < chunk.tokens.size(); ++i, ++row) {
                const float* values = logits.values.row<float>(row);
                got[chunk.slot].insert(got[chunk.slot].end(), values, values + vocab);
            }
            done[chunk.slot] += chunk.tokens.size();
        }
    }
    for (int s = 0; s < 3; ++s) EXPECT_TRUE(bit_equal(got[s], expected[s])) << s;
}

INSTANTIATE_TEST_SUITE_P(Kernels, InvarianceTest,
                         testing::Values(InvarianceCase{"scalar", DType::kF32, false, DType::kBF16},
                                         InvarianceCase{"avx2", DType::kF32, false, DType::kBF16},
                                         InvarianceCase{"avx2", DType::kBF16, false, DType::kBF16},
                                         InvarianceCase{"avx2", DType::kF32, true, DType::kF32},
                                         InvarianceCase{"avx2", DType::kF32, true, DType::kQ8_0},
                                         InvarianceCase{"avx2", DType::kF32, true, DType::kQ4_0},
                                         InvarianceCase{"avx2", DType::kF32, true, DType::kQ4_1},
                                         InvarianceCase{"avx2", DType::kF32, true, DType::kQ5_0},
                                         InvarianceCase{"avx2", DType::kF32, true, DType::kQ5_K},
                                         InvarianceCase{"avx512", DType::kF32, false, DType::kBF16},
                                         InvarianceCase{"avx512", DType::kBF16, false, DType::kBF16},
                                         InvarianceCase{"avx512", DType::kF32, true, DType::kQ8_0},
                                         InvarianceCase{"avx512", DType::kF32, true, DType::kQ4_1},
                                         InvarianceCase{"avx512", DType::kF32, true, DType::kQ5_1},
                                         InvarianceCase{"avx512", DType::kF32, true, DType::kQ4_K},
                                         InvarianceCase{"avx512", DType::kF32, true, DType::kQ6_K},
                                         InvarianceCase{"scalar", DType::kF32, false, DType::kBF16, {13}},
                                         InvarianceCase{"avx2", DType::kF32, false, DType::kBF16, {13}},
                                         InvarianceCase{"avx2", DType::kBF16, false, DType::kBF16, {0, 9}},
                                         InvarianceCase{"avx512", DType::kF32, false, DType::kBF16, {13}}),
                         [](const auto& c) {
                             return std::string(c.param.isa) + "_kv_" + std::string(dtype_name(c.param.kv)) +
                                    "_" + std::string(dtype_name(c.param.matrices)) +
                                    (c.param.windows.empty() ? "" : "_windows");
                         });

// ---- The rest

// The GGUF file of a model, with divisors that bring its plain frequencies to `frequencies`.
MemorySource with_divisors(const TinyModel& plain, const std::vector<double>& frequencies) {
    TinyModelSpec spec = plain.spec();
    spec.rope_scaling.kind = RopeKind::kDivisors;
    TinyModel model(spec);
    std::vector<float> divisors;
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
        const double own = std::pow(spec.rope_theta, -2.0 * static_cast<double>(i) / spec.head_dim);
        divisors.push_back(static_cast<float>(own / frequencies[i]));
    }
    model.set_values("rope_freqs.weight", divisors);
    return model.gguf(DType::kBF16);
}

// The same weights through every layout give the same logits, bit for bit: matrices are bf16 values, and what
// a configuration says is exact in each of them (a GGUF file holds its numbers as f32).
TEST(Forward, FilesOfAllLayoutsGiveTheSameLogits) {
    const std::pair<const char*, TinyModelSpec> kSpecs[] = {
        {"experts", mixture(64, 4, 2, 16, 96, 4, 2)},
        {"dense", dense("mistral", 64, 4, 4, 16, 96, 389, false)},
        {"heads of their own size", dense("mistral", 64, 4, 2, 32, 96, 389, false)},
        {"tied", dense("mistral", 64, 4, 1, 16, 96, 389, true)},
        {"window", windowed(dense("mistral", 64, 4, 2, 16, 96, 389, false), {7})},
        {"windows", windowed(mixture(64, 4, 2, 16, 96, 4, 2), {5, 0})},
        {"yarn", scaled(dense("mistral", 64, 4, 2, 32, 96, 389, false), yarn(kYarnFactor))},
        {"linear", scaled(dense("mistral", 64, 4, 2, 32, 96, 389, false), {.kind = RopeKind::kLinear})},
    };
    const std::vector<std::int32_t> ids = random_ids(1, 24, 389);
    for (const auto& [name, spec] : kSpecs) {
        const TinyModel model(spec);
        const MemorySource folder = model.folder();
        std::vector<MemorySource> others{model.folder(3), model.gguf(DType::kBF16), model.gguf(DType::kF32)};
        if (spec.architecture == "mixtral") others.push_back(model.gguf(DType::kBF16, false));
        if (spec.rope_scaling.kind != RopeKind::kLinear) {  // params.json knows YaRN alone
            others.push_back(model.mistral());
            others.push_back(model.mistral(3, true));
            others.push_back(model.mistral(3, false));
        }
        ModelRunner first(folder, {});
        const std::vector<float> expected = first.run(ids, 24);
        for (std::size_t i = 0; i < others.size(); ++i) {
            ModelRunner other(others[i], {});
            EXPECT_TRUE(bit_equal(other.run(ids, 24), expected)) << name << ", layout " << i;
        }
    }
}

// llama3 as config.json says it, and as the divisors that a GGUF file holds instead, in f32: the angles
// differ by their rounding, so the logits are near and not equal.
TEST(Forward, Llama3AndItsDivisorsGiveNearlyTheSameLogits) {
    const TinyModelSpec spec = scaled(dense("llama", 64, 4, 2, 16, 96, 389, false), llama3());
    const MemorySource folder = TinyModel(spec).folder();
    ModelRunner first(folder, {});
    TinyModelSpec plain = spec;
    plain.rope_scaling = {};
    const MemorySource gguf = with_divisors(TinyModel(plain), first.weights().rope_frequencies);
    ModelRunner second(gguf, {});
    const std::vector<std::int32_t> ids = random_ids(1, 24, 389);
    const std::vector<float> a = first.run(ids, 24);
    const std::vector<float> b = second.run(ids, 24);
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-4F) << i;
}

TEST(Forward, AllocatesNothing) {
    for (const char* isa : {"scalar", ""}) {
        RunnerOptions options;
        options.isa = isa;
        options.threads = 2;
        const MemorySource source = TinyModel(mixture(64, 4, 2, 16, 96, 4, 2)).folder();
        ModelRunner runner(source, options);
        const std::vector<std::int32_t> ids = random_ids(2, 60, 389);
        const std::span<const std::int32_t> all(ids);
        const Chunk warm_up[] = {{0, all.subspan(0, 20), WantLogits::kNone},
                                 {1, all.subspan(0, 30), WantLogits::kAll}};
        runner.step(warm_up);
        const std::uint64_t before = testing_support::allocations_on_all_threads();
        const Chunk mixed[] = {{1, all.subspan(30, 1), WantLogits::kLast},
                               {0, all.subspan(20, 40), WantLogits::kAll}};
        const Logits logits = runner.step(mixed);
        EXPECT_EQ(testing_support::allocations_on_all_threads() - before, 0U);
        EXPECT_EQ(logits.values.rows(), 41);
    }
}

TEST(Forward, AStepWithoutWantedRowsHasNoLogits) {
    const MemorySource source = TinyModel(mixture(64, 4, 2, 16, 96, 4, 2)).folder();
    ModelRunner runner(source, {});
    const std::vector<std::int32_t> ids = {1, 2, 3};
    const Chunk chunk[] = {{0, ids, WantLogits::kNone}};
    EXPECT_EQ(runner.step(chunk).values.rows(), 0);
    const std::vector<std::int32_t> next = {4};
    const Chunk last[] = {{0, next, WantLogits::kLast}};
    const Logits logits = runner.step(last);
    ASSERT_EQ(logits.values.rows(), 1);
    EXPECT_EQ(logits.finite.as<std::int32_t>()[0], 1);
}

TEST(Forward, AFaultInOneSequenceShowsAndStaysThere) {
    const MemorySource source = TinyModel(mixture(64, 4, 2, 16, 96, 4, 2)).folder();
    for (const char* isa : {"scalar", ""}) {
        RunnerOptions options;
        options.isa = isa;
        ModelRunner healthy(source, options);
        const std::vector<std::int32_t> ids = random_ids(3, 12, 389);
        const std::vector<float> expected = healthy.run(ids, 12);

        ModelRunner runner(source, options);
        runner.run(random_ids(4, 9, 389), 9, 0);
        runner.run(std::span(ids).subspan(0, 11), 11, 1);
        // A bad bit in a value of slot 0's cache (its first block is the last group of four blocks).
        const KvLayer& layer = runner.cache().layer(0);
        const std::int64_t block = std::int64_t{runner.blocks_of_slot() - 1} * 4;
        layer.values.as<float>()[block * layer.kv_heads() * layer.block_tokens() * layer.head_dim()] =
            std::numeric_limits<float>::quiet_NaN();
        const std::vector<std::int32_t> one = {7};
        const Chunk chunks[] = {{0, one, WantLogits::kLast},
                                {1, std::span(ids).subspan(11), WantLogits::kLast}};
        const Logits logits = runner.step(chunks);
        EXPECT_EQ(logits.finite.as<std::int32_t>()[0], 0);
        EXPECT_EQ(logits.finite.as<std::int32_t>()[1], 1);
        EXPECT_EQ(std::memcmp(logits.values.row<float>(1), expected.data() + 11 * 389, 389 * sizeof(float)),
                  0);
    }
}

TEST(LoadWeights, NormsAreF32AndTiedMatricesShareMemory) {
    const MemorySource source = TinyModel(dense("llama", 64, 4, 2, 16, 96, 384, true)).folder();
    ModelRunner runner(source, {});
    const Weights& weights = runner.weights();
    EXPECT_EQ(weights.norm.dtype(), DType::kF32);
    EXPECT_EQ(weights.layers[1].wq.dtype(), DType::kBF16);
    EXPECT_EQ(weights.output.data.data, weights.tok_embeddings.data.data);
    EXPECT_EQ(weights.layers[0].w1.data.shape[0], 1);
    EXPECT_TRUE(weights.layers[0].gate.empty());
    EXPECT_EQ(weights.rope_frequencies.size(), 8U);
}

TEST(LoadWeights, AModelCutOffIsRefused) {
    MemorySource source = TinyModel(mixture(64, 4, 2, 16, 96, 4, 2)).folder();
    const auto files = ModelFiles::open(source);
    ASSERT_TRUE(files);
    Bytes& content = source.content("model.safetensors");
    content.resize(content.size() - 1);
    const MemorySource shorter(std::vector<std::pair<std::string, Bytes>>{{"model.safetensors", content}});
    const auto weights = load_weights(shorter, *files, 2);
    ASSERT_FALSE(weights);
    EXPECT_EQ(weights.error().code(), Code::kInvalidArgument);
}

TEST(LoadWeightsDeathTest, WeightsAreReadOnly) {
    const MemorySource source = TinyModel(dense("llama", 64, 4, 2, 16, 96, 384, true)).folder();
    ModelRunner runner(source, {});
    auto* gain = static_cast<volatile float*>(runner.weights().norm.data.as<float>());
    EXPECT_DEATH(*gain = 1.0F, "");
}

}  // namespace
}  // namespace ostal::engine
