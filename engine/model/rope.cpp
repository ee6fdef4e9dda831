#include "engine/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace ostal::engine {
namespace {

constexpr double kTurn = 2.0 * std::numbers::pi;

// The ramp of YaRN: 0 for frequencies kept as they are, 1 for those divided by the factor.
class YarnRamp {
public:
    explicit YarnRamp(const ModelConfig& config) {
        const RopeScaling& yarn = config.rope_scaling;
        // The frequency that turns `rotations` times within the original context, as a real index i.
        const auto index_of = [&](double rotations) {
            return config.head_dim * std::log(yarn.original_context / (rotations * kTurn)) /
                   (2.0 * std::log(config.rope_theta));
        };
        begin_ = index_of(yarn.beta_fast);
        end_ = index_of(yarn.beta_slow);
        if (yarn.truncate) {
            begin_ = std::floor(begin_);
            end_ = std::ceil(end_);
        }
        begin_ = std::max(begin_, 0.0);
        end_ = std::min(end_, config.head_dim - 1.0);
        if (begin_ == end_) end_ += 0.001;  // a step
    }
    double at(double i) const { return std::clamp((i - begin_) / (end_ - begin_), 0.0, 1.0); }

private:
    double begin_;
    double end_;
};

double llama3_frequency(double frequency, const RopeScaling& scaling) {
    const double turns = scaling.original_context * frequency / kTurn;  // C / wavelength
    if (turns < scaling.low_frequency_factor) return frequency / scaling.factor;
    if (turns > scaling.high_frequency_factor) return frequency;
    const double kept = (turns - scaling.low_frequency_factor) /
                        (scaling.high_frequency_factor - scaling.low_frequency_factor);
    return (1.0 - kept) * frequency / scaling.factor + kept * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> divisors) {
    const RopeScaling& scaling = config.rope_scaling;
    std::vector<double> out;
    for (std::int32_t i = 0; i < config.head_dim; i += 2)
        out.push_back(std::pow(config.rope_theta, -static_cast<double>(i) / config.head_dim));
    CHECK_EQ(divisors.size(), scaling.kind == RopeKind::kDivisors ? out.size() : 0);
    switch (scaling.kind) {
        case RopeKind::kPlain:
        case RopeKind::kDynamic: break;
        case RopeKind::kLinear:
            for (double& frequency : out) frequency /= scaling.factor;
            break;
        case RopeKind::kYarn: {
            const YarnRamp ramp(config);
            for (std::size_t i = 0; i < out.size(); ++i) {
                const double scaled = ramp.at(static_cast<double>(i));
                out[i] = out[i] / scaling.factor * scaled + out[i] * (1.0 - scaled);
            }
            break;
        }
        case RopeKind::kLlama3:
            for (double& frequency : out) frequency = llama3_frequency(frequency, scaling);
            break;
        case RopeKind::kDivisors:
            for (std::size_t i = 0; i < out.size(); ++i) out[i] /= static_cast<double>(divisors[i]);
            break;
    }
    return out;
}

float attention_scale(const ModelConfig& config) {
    const double factor = config.rope_scaling.attention_factor;
    return static_cast<float>(factor * factor) / std::sqrt(static_cast<float>(config.head_dim));
}

}  // namespace ostal::engine
