#include "tests/support/naive_forward.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace ostal::test {
namespace {

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;  // one Vector a token

// y = W x, W [rows, x.size()].
Vector multiply(const Vector& w, const Vector& x) {
    Vector y(w.size() / x.size());
    for (std::size_t r = 0; r < y.size(); ++r) {
        for (std::size_t i = 0; i < x.size(); ++i) y[r] += w[r * x.size() + i] * x[i];
    }
    return y;
}

Vector rms_norm(const Vector& x, const Vector& gain, double eps) {
    double squares = 0;
    for (const double v : x) squares += v * v;
    Vector y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        y[i] = x[i] / std::sqrt(squares / static_cast<double>(x.size()) + eps) * gain[i];
    }
    return y;
}

// The angle of pair i for each token of distance, as transformers' modeling_rope_utils.py derives it: from
// wavelengths (llama3), and from the dimension at which a number of rotations falls (yarn).
double frequency_of(const engine::ModelConfig& c, const TensorValues& tensor, std::size_t i) {
    const engine::RopeScaling& s = c.rope_scaling;
    const double plain = 1.0 / std::pow(c.rope_theta, 2.0 * static_cast<double>(i) / c.head_dim);
    const double two_pi = 6.283185307179586;
    if (s.kind == engine::RopeKind::kLinear) return plain / s.factor;
    if (s.kind == engine::RopeKind::kDivisors) return plain / tensor("rope_freqs.weight")[i];
    if (s.kind == engine::RopeKind::kLlama3) {
        const double wavelength = two_pi / plain;
        const double long_from = s.original_context / s.low_frequency_factor;
        const double short_to = s.original_context / s.high_frequency_factor;
        if (wavelength > long_from) return plain / s.factor;
        if (wavelength < short_to) return plain;
        const double smooth = (s.original_context / wavelength - s.low_frequency_factor) /
                              (s.high_frequency_factor - s.low_frequency_factor);
        return (1 - smooth) * plain / s.factor + smooth * plain;
    }
    if (s.kind == engine::RopeKind::kYarn) {
        const auto dimension = [&](double rotations) {
            return c.head_dim * std::log(s.original_context / rotations / two_pi) / std::log(c.rope_theta) /
                   2;
        };
        double low = dimension(s.beta_fast);
        double high = dimension(s.beta_slow);
        if (s.truncate) {
            low = std::floor(low);
            high = std::ceil(high);
        }
        low = std::max(low, 0.0);
        high = std::min(high, c.head_dim - 1.0);
        const double width = low == high ? 0.001 : high - low;
        const double ramp = std::min(1.0, std::max(0.0, (static_cast<double>(i) - low) / width));
        const double extrapolation = 1 - ramp;
        return plain / s.factor * (1 - extrapolation) + plain * extrapolation;
    }
    return plain;
}

// Rotates the pairs (i, i + Dh / 2) of every head; YaRN's factor stretches cosines and sines.
void rope(Vector& x, const Vector& frequencies, double factor, std::size_t position) {
    const std::size_t half = frequencies.size();
    for (std::size_t head = 0; head < x.size(); head += 2 * half) {
        for (std::size_t i = 0; i < half; ++i) {
            const double angle = static_cast<double>(position) * frequencies[i];
            double& a = x[head + i];
            double& b = x[head + i + half];
            const double rotated = factor * (a * std::cos(angle) - b * std::sin(angle));
            b = factor * (b * std::cos(angle) + a * std::sin(angle));
            a = rotated;
        }
    }
}

void softmax(Vector& x) {
    const double max = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& v : x) sum += v = std::exp(v - max);
    for (double& v : x) v /= sum;
}

// Token t sees the keys s with t - window < s <= t (all s <= t where window is 0).
Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, std::size_t heads, std::size_t kv_heads,
                 std::size_t head_dim, std::size_t window) {
    Matrix out(q.size(), Vector(heads * head_dim));
    for (std::size_t t = 0; t < q.size(); ++t) {
        for (std::size_t h = 0; h < heads; ++h) {
            const std::size_t kv = h / (heads / kv_heads) * head_dim;
            Vector scores(t + 1);
            for (std::size_t s = 0; s <= t; ++s) {
                for (std::size_t i = 0; i < head_dim; ++i) scores[s] += q[t][h * head_dim + i] * k[s][kv + i];
                scores[s] /= std::sqrt(static_cast<double>(head_dim));
                if (window > 0 && s + window <= t) scores[s] = -std::numeric_limits<double>::infinity();
            }
            softmax(scores);
            for (std::size_t s = 0; s <= t; ++s) {
                for (std::size_t i = 0; i < head_dim; ++i)
                    out[t][h * head_dim + i] += scores[s] * v[s][kv + i];
            }
        }
    }
    return out;
}

Vector swiglu(const Vector& x, const Vector& w1, const Vector& w2, const Vector& w3) {
    Vector gate = multiply(w1, x);
    const Vector up = multiply(w3, x);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    return multiply(w2, gate);
}

// The chosen experts with their weights: softmax over the A highest logits.
std::vector<std::pair<std::size_t, double>> route(const Vector& logits, std::size_t active, Vector* margins) {
    std::vector<std::size_t> order(logits.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
    if (margins != nullptr && active < order.size()) {
        margins->push_back(logits[order[active - 1]] - logits[order[active]]);
    }
    Vector weights(active);
    for (std::size_t a = 0; a < active; ++a) weights[a] = logits[order[a]];
    softmax(weights);
    std::vector<std::pair<std::size_t, double>> chosen;
    for (std::size_t a = 0; a < active; ++a) chosen.emplace_back(order[a], weights[a]);
    return chosen;
}

void add(Vector& x, const Vector& y, double factor = 1) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += factor * y[i];
}

}  // namespace

std::vector<double> naive_forward(const engine::ModelConfig& config, const TensorValues& tensor,
                                  std::span<const std::int32_t> ids, std::vector<double>* margins,
                                  std::vector<double>* hidden) {
    const auto dim = static_cast<std::size_t>(config.dim);
    const auto head_dim = static_cast<std::size_t>(config.head_dim);
    const double eps = static_cast<double>(config.norm_eps);
    Vector frequencies(head_dim / 2);
    for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = frequency_of(config, tensor, i);
    Matrix x;
    const Vector& embedding = tensor("model.embed_tokens.weight");
    for (const std::int32_t id : ids) {
        const auto row = embedding.begin() + id * config.dim;
        x.emplace_back(row, row + static_cast<std::ptrdiff_t>(dim));
    }
    for (std::int32_t layer = 0; layer < config.layers; ++layer) {
        const std::string prefix = "model.layers." + std::to_string(layer) + ".";
        const auto weight = [&](const std::string& name) -> const Vector& {
            return tensor(prefix + name + ".weight");
        };
        Matrix q, k, v;
        for (std::size_t t = 0; t < x.size(); ++t) {
            const Vector normed = rms_norm(x[t], weight("input_layernorm"), eps);
            q.push_back(multiply(weight("self_attn.q_proj"), normed));
            k.push_back(multiply(weight("self_attn.k_proj"), normed));
            v.push_back(multiply(weight("self_attn.v_proj"), normed));
            rope(q[t], frequencies, config.rope_scaling.attention_factor, t);
            rope(k[t], frequencies, config.rope_scaling.attention_factor, t);
        }
        const Matrix attended = attention(q, k, v, static_cast<std::size_t>(config.heads),
                                          static_cast<std::size_t>(config.kv_heads), head_dim,
                                          static_cast<std::size_t>(config.window(layer)));
        for (std::size_t t = 0; t < x.size(); ++t) {
            add(x[t], multiply(weight("self_attn.o_proj"), attended[t]));
            const Vector normed = rms_norm(x[t], weight("post_attention_layernorm"), eps);
            if (config.experts == 0) {
                add(x[t],
                    swiglu(normed, weight("mlp.gate_proj"), weight("mlp.down_proj"), weight("mlp.up_proj")));
                continue;
            }
            const Vector logits = multiply(weight("block_sparse_moe.gate"), normed);
            for (const auto& [e, share] :
                 route(logits, static_cast<std::size_t>(config.experts_per_token), margins)) {
                const std::string expert = "block_sparse_moe.experts." + std::to_string(e);
                add(x[t],
                    swiglu(normed, weight(expert + ".w1"), weight(expert + ".w2"), weight(expert + ".w3")),
                    share);
            }
        }
    }
    Vector out;
    const Vector& head = config.tied_embeddings ? embedding : tensor("lm_head.weight");
    for (const Vector& row : x) {
        const Vector normed = rms_norm(row, tensor("model.norm.weight"), eps);
        if (hidden != nullptr) hidden->insert(hidden->end(), normed.begin(), normed.end());
        const Vector logits = multiply(head, normed);
        out.insert(out.end(), logits.begin(), logits.end());
    }
    return out;
}

}  // namespace ostal::test
