#include "engine/backend/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tests/support/random_weight.h"

namespace ostal::engine {
namespace {

using test::random_floats;
using test::random_rows;
using test::row_values;

std::unique_ptr<Backend> make_backend(const std::string& isa, std::int32_t threads) {
    auto backend = make_cpu_backend({.isa = isa, .threads = threads, .pin_threads = false});
    return backend ? std::move(*backend) : nullptr;
}

View view_of(std::vector<float>& values, std::initializer_list<std::int64_t> shape) {
    return View::make(values.data(), DType::kF32, shape);
}
View view_of(std::vector<std::int32_t>& values, std::initializer_list<std::int64_t> shape) {
    return View::make(values.data(), DType::kI32, shape);
}

using Parameters = std::pair<const char*, std::int32_t>;  // ISA, threads

class CpuBackendTest : public testing::TestWithParam<Parameters> {
protected:
    void SetUp() override {
        backend_ = make_backend(GetParam().first, GetParam().second);
        if (backend_ == nullptr) GTEST_SKIP() << "this CPU lacks " << GetParam().first;
        backend_->attach_thread();
    }
    std::unique_ptr<Backend> backend_;
    SeededRandom random_{1};
};

TEST_P(CpuBackendTest, SaysWhatItIs) {
    EXPECT_EQ(backend_->name(), "cpu");
    EXPECT_EQ(backend_->isa(), GetParam().first);
}

TEST_P(CpuBackendTest, EmbedsRows) {
    Bytes bytes = random_rows(random_, DType::kQ8_0, 10, 64);
    const std::vector<double> values = row_values(DType::kQ8_0, bytes);
    const Weight table{View::make(bytes.data(), DType::kQ8_0, {10, 64})};
    const std::vector<std::int32_t> tokens = {9, 0, 9, 4};
    std::vector<float> out(4 * 64);
    backend_->embed(tokens, table, view_of(out, {4, 64}));
    for (std::size_t t = 0; t < 4; ++t) {
        for (std::size_t i = 0; i < 64; ++i) {
            EXPECT_EQ(static_cast<double>(out[t * 64 + i]),
                      values[static_cast<std::size_t>(tokens[t]) * 64 + i]);
        }
    }
}

TEST_P(CpuBackendTest, LinearStoresOrAdds) {
    const std::int64_t n = 200, k = 96, tokens = 5;
    Bytes bytes = random_rows(random_, DType::kBF16, n, k);
    const std::vector<double> w = row_values(DType::kBF16, bytes);
    std::vector<float> x = random_floats(random_, tokens * k);
    std::vector<float> before = random_floats(random_, tokens * n);
    const Weight weight{View::make(bytes.data(), DType::kBF16, {n, k})};
    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd}) {
        std::vector<float> out = before;
        backend_->linear(view_of(x, {tokens, k}), weight, epilogue, view_of(out, {tokens, n}));
        for (std::int64_t t = 0; t < tokens; ++t) {
            for (std::int64_t r = 0; r < n; ++r) {
                const auto at = static_cast<std::size_t>(t * n + r);
                double expected = epilogue == Epilogue::kAdd ? static_cast<double>(before[at]) : 0.0;
                for (std::int64_t i = 0; i < k; ++i) {
                    expected += w[static_cast<std::size_t>(r * k + i)] *
                                static_cast<double>(x[static_cast<std::size_t>(t * k + i)]);
                }
                ASSERT_NEAR(static_cast<double>(out[at]), expected, 3e-5);
            }
        }
    }
}

TEST_P(CpuBackendTest, RopeAnglesHoldAtLargePositions) {
    const std::vector<std::int32_t> positions = {0, 1, 131071};
    const std::vector<double> frequencies = {1.0, 0.1, 1e-4};
    std::vector<float> cosines(9), sines(9);
    backend_->rope_angles(positions, frequencies, view_of(cosines, {3, 3}), view_of(sines, {3, 3}));
    for (std::size_t t = 0; t < 3; ++t) {
        for (std::size_t i = 0; i < 3; ++i) {
            const double angle = positions[t] * frequencies[i];
            EXPECT_EQ(cosines[t * 3 + i], static_cast<float>(std::cos(angle)));
            EXPECT_EQ(sines[t * 3 + i], static_cast<float>(std::sin(angle)));
        }
    }
}

TEST_P(CpuBackendTest, RouterTakesTheHighestAndTheLowerOfEquals) {
    std::vector<float> logits = {1, 3, 2, 3, /**/ 0, 0, 0, 0, /**/ -5, -1, -2, 90};
    std::vector<std::int32_t> experts(6);
    std::vector<float> weights(6);
    backend_->router_top_k(view_of(logits, {3, 4}), view_of(experts, {3, 2}), view_of(weights, {3, 2}));
    EXPECT_EQ(experts, (std::vector<std::int32_t>{1, 3, 0, 1, 3, 1}));
    EXPECT_EQ(weights[0], 0.5F);
    EXPECT_EQ(weights[3], 0.5F);
    EXPECT_FLOAT_EQ(weights[4], 1.0F);
    EXPECT_NEAR(weights[5], std::exp(-91.0F), 1e-44F);
}

TEST_P(CpuBackendTest, RouterEndsWithNotANumber) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> logits = {nan, nan, nan};
    std::vector<std::int32_t> experts(2);
    std::vector<float> weights(2);
    backend_->router_top_k(view_of(logits, {1, 3}), view_of(experts, {1, 2}), view_of(weights, {1, 2}));
    EXPECT_TRUE(std::isnan(weights[0]));
    EXPECT_TRUE(experts[0] >= 0 && experts[0] < 3 && experts[1] >= 0 && experts[1] < 3 &&
                experts[0] != experts[1]);
}

TEST_P(CpuBackendTest, PlanSortsByExpertAndKeepsTheOrderOfTokens) {
    std::vector<std::int32_t> experts = {2, 0, /**/ 0, 3, /**/ 2, 3};
    std::vector<float> weights = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F};
    std::vector<std::int32_t> offsets(5), rows(6);
    std::vector<float> slot_weights(6);
    const MoePlan plan{view_of(offsets, {5}), view_of(rows, {6}), view_of(slot_weights, {6})};
    backend_->moe_plan(view_of(experts, {3, 2}), view_of(weights, {3, 2}), plan);
    EXPECT_EQ(offsets, (std::vector<std::int32_t>{0, 2, 2, 4, 6}));
    EXPECT_EQ(rows, (std::vector<std::int32_t>{0, 1, 0, 2, 1, 2}));
    EXPECT_EQ(slot_weights, (std::vector<float>{0.2F, 0.3F, 0.1F, 0.5F, 0.4F, 0.6F}));
}

TEST_P(CpuBackendTest, ExpertsAreAppliedAndAddedUp) {
    const std::int64_t tokens = 9, dim = 64, ffn = 96, experts = 5, active = 3;
    // w1 and w3 of different types: a file may mix them.
    Bytes b1 = random_rows(random_, DType::kQ4_0, experts * ffn, dim, 0.2F);
    Bytes b3 = random_rows(random_, DType::kF16, experts * ffn, dim, 0.2F);
    Bytes b2 = random_rows(random_, DType::kQ8_0, experts * dim, ffn, 0.2F);
    const Weight w1{View::make(b1.data(), DType::kQ4_0, {experts, ffn, dim})};
    const Weight w3{View::make(b3.data(), DType::kF16, {experts, ffn, dim})};
    const Weight w2{View::make(b2.data(), DType::kQ8_0, {experts, dim, ffn})};
    const auto v1 = row_values(DType::kQ4_0, b1), v3 = row_values(DType::kF16, b3),
               v2 = row_values(DType::kQ8_0, b2);
    std::vector<float> x = random_floats(random_, tokens * dim);
    std::vector<float> logits = random_floats(random_, tokens * experts);
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(tokens * active));
    std::vector<float> weights(chosen.size());
    backend_->router_top_k(view_of(logits, {tokens, experts}), view_of(chosen, {tokens, active}),
                           view_of(weights, {tokens, active}));
    std::vector<std::int32_t> offsets(experts + 1), rows(chosen.size());
    std::vector<float> slot_weights(chosen.size());
    const MoePlan plan{view_of(offsets, {experts + 1}), view_of(rows, {tokens * active}),
                       view_of(slot_weights, {tokens * active})};
    backend_->moe_plan(view_of(chosen, {tokens, active}), view_of(weights, {tokens, active}), plan);
    std::vector<float> hidden(static_cast<std::size_t>(tokens * active * ffn));
    backend_->moe_up(view_of(x, {tokens, dim}), w1, w3, plan, view_of(hidden, {tokens * active, ffn}));

    const auto dot = [](const std::vector<double>& w, std::int64_t row, const auto& v, std::int64_t at,
                        std::int64_t n) {
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            sum += w[static_cast<std::size_t>(row * n + i)] *
                   static_cast<double>(v[static_cast<std::size_t>(at * n + i)]);
        }
        return sum;
    };
    for (const Epilogue epilogue : {Epilogue::kAdd, Epilogue::kStore}) {
        std::vector<float> out(static_cast<std::size_t>(tokens * dim), 2.0F);
        backend_->moe_down(view_of(hidden, {tokens * active, ffn}), w2, plan, epilogue,
                           view_of(out, {tokens, dim}));
        for (std::int64_t t = 0; t < tokens; ++t) {
            std::vector<double> expected(dim, epilogue == Epilogue::kAdd ? 2.0 : 0.0);
            for (std::int64_t a = 0; a < active; ++a) {
                const auto slot = static_cast<std::size_t>(t * active + a);
                const std::int64_t e = chosen[slot];
                std::vector<double> h;
                for (std::int64_t f = 0; f < ffn; ++f) {
                    const double gate = dot(v1, e * ffn + f, x, t, dim);
                    h.push_back(gate / (1 + std::exp(-gate)) * dot(v3, e * ffn + f, x, t, dim));
                }
                for (std::int64_t d = 0; d < dim; ++d) {
                    expected[static_cast<std::size_t>(d)] +=
                        static_cast<double>(weights[slot]) * dot(v2, e * dim + d, h, 0, ffn);
                }
            }
            for (std::int64_t d = 0; d < dim; ++d) {
                ASSERT_NEAR(static_cast<double>(out[static_cast<std::size_t>(t * dim + d)]),
                            expected[static_cast<std::size_t>(d)], 1e-5);
            }
        }
    }
}

TEST_P(CpuBackendTest, LogitsAreOfTheWantedRowsAndSayWhenTheyAreNotFinite) {
    const std::int64_t dim = 64, vocab = 301;
    Bytes bytes = random_rows(random_, DType::kQ4_1, vocab, dim);
    const Weight weight{View::make(bytes.data(), DType::kQ4_1, {vocab, dim})};
    std::vector<float> gain(dim, 1.0F);
    const Weight norm{view_of(gain, {dim})};
    std::vector<float> x = random_floats(random_, 4 * dim);
    x[dim * 3 + 1] = std::numeric_limits<float>::infinity();
    const std::vector<std::int32_t> rows = {1, 3};
    std::vector<float> normed(2 * dim), out(static_cast<std::size_t>(2 * vocab));
    std::vector<std::int32_t> finite(2, 7);
    backend_->logits(view_of(x, {4, dim}), rows, norm, 1e-5F, weight, view_of(normed, {2, dim}),
                     view_of(out, {2, vocab}), view_of(finite, {2}));
    EXPECT_EQ(finite, (std::vector<std::int32_t>{1, 0}));

    std::vector<float> one(static_cast<std::size_t>(vocab)), last = {x.begin() + dim, x.begin() + 2 * dim};
    backend_->rms_norm(view_of(last, {1, dim}), norm, 1e-5F, view_of(last, {1, dim}));
    backend_->linear(view_of(last, {1, dim}), weight, Epilogue::kStore, view_of(one, {1, vocab}));
    EXPECT_EQ(std::memcmp(one.data(), out.data(), one.size() * sizeof(float)), 0);
}

using CpuBackendDeathTest = CpuBackendTest;

TEST_P(CpuBackendDeathTest, WrongShapesAndIdsAreOurBugs) {
    Bytes bytes = random_rows(random_, DType::kF32, 4, 8);
    const Weight weight{View::make(bytes.data(), DType::kF32, {4, 8})};
    std::vector<float> x(16), out(8);
    EXPECT_DEATH(backend_->linear(view_of(x, {2, 7}), weight, Epilogue::kStore, view_of(out, {2, 4})),
                 "columns");
    EXPECT_DEATH(backend_->linear(view_of(x, {2, 8}), weight, Epilogue::kStore, view_of(out, {2, 3})),
                 "columns");
    const std::vector<std::int32_t> beyond = {4};
    EXPECT_DEATH(backend_->embed(beyond, weight, view_of(out, {1, 8})), "shape");
}

INSTANTIATE_TEST_SUITE_P(Isa, CpuBackendTest,
                         testing::Values(Parameters{"scalar", 1}, Parameters{"avx2", 1},
                                         Parameters{"avx2", 3}),
                         [](const auto& p) { return p.param.first + std::to_string(p.param.second); });
INSTANTIATE_TEST_SUITE_P(Isa, CpuBackendDeathTest, testing::Values(Parameters{"scalar", 1}),
                         [](const auto& p) { return p.param.first + std::to_string(p.param.second); });

TEST(CpuBackend, RefusesWhatItDoesNotKnow) {
    const auto backend = make_cpu_backend({.isa = "sse9", .threads = 1, .pin_threads = false});
    ASSERT_FALSE(backend);
    EXPECT_EQ(backend.error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ostal::engine
