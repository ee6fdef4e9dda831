#include "engine/backend/check/check_backend.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/cpu/cpu_backend.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

std::unique_ptr<Backend> scalar_backend() {
    return std::move(*make_cpu_backend({.isa = "scalar", .threads = 1, .pin_threads = false}));
}

// Passes everything on, and spoils the output of one operation's n-th call.
class Faulty final : public Backend {
public:
    Faulty(Backend& inner, std::string operation, int call)
        : inner_(inner), bad_(std::move(operation)), call_(call) {}
    std::string_view name() const override { return "faulty"; }
    std::string_view isa() const override { return "scalar"; }
    void attach_thread() override {}

protected:
    void do_embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) override {
        inner_.embed(tokens, table, out);
        spoil("embed", out);
    }
    void do_rms_norm(const View& x, const Weight& gain, float eps, const View& out) override {
        inner_.rms_norm(x, gain, eps, out);
        spoil("rms_norm", out);
    }
    void do_linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) override {
        inner_.linear(x, weight, epilogue, out);
        spoil("linear", out);
    }
    void do_rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                        const View& cosines, const View& sines) override {
        inner_.rope_angles(positions, frequencies, cosines, sines);
        spoil("rope_angles", sines);
    }
    void do_rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                 const View& sines, const Batch& batch, const KvLayer& cache) override {
        inner_.rope_and_cache_write(q, k, v, cosines, sines, batch, cache);
        spoil("rope_and_cache_write", cache.values);
    }
    void do_attention(const View& q, const Batch& batch, std::int32_t first, std::int32_t end,
                      const KvLayer& cache, float scale, std::int32_t window, const View& out) override {
        if (first == 0 && end == batch.decode_sequences) {
            inner_.attention_decode(q, batch, cache, scale, window, out);
            spoil("attention_decode", out);
        } else {
            inner_.attention_prefill(q, batch, cache, scale, window, out);
            spoil("attention_prefill", out);
        }
    }
    void do_router_top_k(const View& logits, const View& experts, const View& weights) override {
        inner_.router_top_k(logits, experts, weights);
        spoil("router_top_k", weights);
    }
    void do_moe_plan(const View& experts, const View& weights, const MoePlan& plan) override {
        inner_.moe_plan(experts, weights, plan);
        spoil("moe_plan", plan.slot_weight);
    }
    void do_moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                   const View& out) override {
        inner_.moe_up(x, w1, w3, plan, out);
        spoil("moe_up", out);
    }
    void do_moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                     const View& out) override {
        inner_.moe_down(h, w2, plan, epilogue, out);
        spoil("moe_down", out);
    }
    void do_logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                   const Weight& weight, const View& normed, const View& out, const View& finite) override {
        inner_.logits(x, rows, norm, eps, weight, normed, out, finite);
        spoil("logits", out);
    }

private:
    void spoil(const std::string& operation, const View& out) {
        if (operation == bad_ && call_-- == 0) out.as<float>()[1] += 0.5F;
    }
    Backend& inner_;
    std::string bad_;
    int call_;
};

class CheckBackendTest : public testing::TestWithParam<const char*> {};

TEST_P(CheckBackendTest, NamesTheOperationThatDiffers) {
    const std::string operation = GetParam();
    test::TinyModelSpec spec;
    const test::MemorySource source = test::TinyModel(spec).folder();
    const auto reference = scalar_backend();
    const auto inner = scalar_backend();
    Faulty faulty(*inner, operation, 1);
    CheckBackend check(*reference, faulty, {});
    check.attach_thread();
    test::ModelRunner runner(source, {}, &check);
    const std::vector<std::int32_t> ids = {1, 5, 9, 200, 300};
    runner.run(ids, 4);  // a prefill chunk and a decode
    runner.run(ids, 4);
    ASSERT_TRUE(check.first_difference());
    EXPECT_EQ(check.first_difference()->operation, operation);
    EXPECT_EQ(check.first_difference()->index, 1);
    EXPECT_NE(check.first_difference()->to_string().find(operation), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Operations, CheckBackendTest,
                         testing::Values("embed", "rms_norm", "linear", "rope_angles", "rope_and_cache_write",
                                         "attention_decode", "attention_prefill", "router_top_k", "moe_plan",
                                         "moe_up", "moe_down", "logits"),
                         [](const auto& operation) { return std::string(operation.param); });

TEST(CheckBackend, FindsNothingBetweenEquals) {
    const test::MemorySource source = test::TinyModel({}).folder();
    const auto a = scalar_backend();
    const auto b = scalar_backend();
    CheckBackend check(*a, *b, {.absolute = 0, .relative = 0});
    test::ModelRunner runner(source, {}, &check);
    const std::vector<std::int32_t> ids = {1, 5, 9, 200, 300};
    runner.run(ids, 3);
    EXPECT_FALSE(check.first_difference());
    // Two steps of: embed, angles, 2 layers of 13 operations, logits; attention is one of two kinds.
    EXPECT_EQ(check.calls(), 2 * (2 + 2 * 13 + 1));
}

// What a self-test of a machine asks for: each block type through each instruction set, operation by
// operation.
TEST(CheckBackend, EveryBlockTypeAgreesOnEveryIsa) {
    test::TinyModelSpec spec;
    spec.architecture = "llama";
    spec.layers = 1;
    spec.dim = spec.ffn = 256;
    spec.head_dim = 64;
    const test::TinyModel model(spec);
    int compared = 0;
    for (const char* isa : {"avx2", "avx512"}) {
        const auto subject = make_cpu_backend({.isa = isa, .threads = 2, .pin_threads = false});
        if (!subject) continue;
        for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                 DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
            const test::MemorySource source = model.gguf(type);
            const auto reference = scalar_backend();
            CheckBackend check(*reference, **subject, {});
            test::ModelRunner runner(source, {}, &check);
            const std::vector<std::int32_t> ids = {1, 5, 9, 200, 300, 7, 8};
            runner.run(ids, 6);
            EXPECT_GT(check.calls(), 0);
            EXPECT_FALSE(check.first_difference())
                << isa << " " << dtype_name(type) << ": " << check.first_difference()->to_string();
            ++compared;
        }
    }
    if (compared == 0) GTEST_SKIP() << "this CPU has neither AVX2 nor AVX-512";
}

}  // namespace
}  // namespace ostal::engine
