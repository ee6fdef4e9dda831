// CheckBackend: runs every operation on two backends and names the first one whose results differ.
//
// For tests and the self-test of a new device: forward() over a CheckBackend compares operation by operation,
// on the values that occur in a real model, with the subject's results going on to the next operation, so
// that a difference is the operation's own and not inherited. Both backends work on host memory. Slow, and it
// allocates.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "engine/backend/backend.h"

namespace ostal::engine {

struct Difference {
    std::string operation;   // "linear"
    std::int64_t call = 0;   // which operation since construction, from 0
    std::int64_t index = 0;  // into the operation's first output that differs
    double expected = 0;     // the reference's
    double got = 0;          // the subject's
    std::string to_string() const;
};

class CheckBackend final : public Backend {
public:
    // |got - expected| <= absolute + relative * (largest magnitude in the reference's output). Integers are
    // equal.
    struct Tolerance {
        double absolute = 1e-6;
        double relative = 1e-5;
    };
    // Both outlive this object.
    CheckBackend(Backend& reference, Backend& subject, Tolerance tolerance)
        : reference_(reference), subject_(subject), tolerance_(tolerance) {}

    std::string_view name() const override { return "check"; }
    std::string_view isa() const override { return subject_.isa(); }
    void attach_thread() override;

    std::int64_t calls() const { return calls_; }
    const std::optional<Difference>& first_difference() const { return difference_; }

protected:
    void do_embed(std::span<const std::int32_t> tokens, const Weight& table, const View& out) override;
    void do_rms_norm(const View& x, const Weight& gain, float eps, const View& out) override;
    void do_linear(const View& x, const Weight& weight, Epilogue epilogue, const View& out) override;
    void do_rope_angles(std::span<const std::int32_t> positions, std::span<const double> frequencies,
                        const View& cosines, const View& sines) override;
    void do_rope_and_cache_write(const View& q, const View& k, const View& v, const View& cosines,
                                 const View& sines, const Batch& batch, const KvLayer& cache) override;
    void do_attention(const View& q, const Batch& batch, std::int32_t first, std::int32_t end,
                      const KvLayer& cache, float scale, std::int32_t window, const View& out) override;
    void do_router_top_k(const View& logits, const View& experts, const View& weights) override;
    void do_moe_plan(const View& experts, const View& weights, const MoePlan& plan) override;
    void do_moe_up(const View& x, const Weight& w1, const Weight& w3, const MoePlan& plan,
                   const View& out) override;
    void do_moe_down(const View& h, const Weight& w2, const MoePlan& plan, Epilogue epilogue,
                     const View& out) override;
    void do_logits(const View& x, std::span<const std::int32_t> rows, const Weight& norm, float eps,
                   const Weight& weight, const View& normed, const View& out, const View& finite) override;

private:
    // Runs `operation` on the reference, puts the outputs back as they were, runs it on the subject,
    // compares.
    template <typename Operation>
    void compare(std::string_view name, std::initializer_list<View> outputs, const Operation& operation);
    void compare_output(std::string_view name, const View& got, ByteSpan expected);

    Backend& reference_;
    Backend& subject_;
    Tolerance tolerance_;
    std::int64_t calls_ = 0;
    std::optional<Difference> difference_;
};

}  // namespace ostal::engine
