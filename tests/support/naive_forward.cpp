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

// Rotates the pairs (i, i + Dh / 2) of every head.
void rope(Vector& x, std::size_t head_dim, double theta, std::size_t position) {
    for (std::size_t head = 0; head < x.size(); head += head_dim) {
        for (std::size_t i = 0; i < head_dim / 2; ++i) {
            const double angle =
                static_cast<double>(position) *
                std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
            double& a = x[head + i];
            double& b = x[head + i + head_dim / 2];
            const double rotated = a * std::cos(angle) - b * std::sin(angle);
            b = b * std::cos(angle) + a * std::sin(angle);
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
                                  std::span<const std::int32_t> ids, std::vector<double>* margins) {
    const auto dim = static_cast<std::size_t>(config.dim);
    const auto head_dim = static_cast<std::size_t>(config.head_dim);
    const double eps = static_cast<double>(config.norm_eps);
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
            rope(q[t], head_dim, config.rope_theta, t);
            rope(k[t], head_dim, config.rope_theta, t);
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
        const Vector logits = multiply(head, rms_norm(row, tensor("model.norm.weight"), eps));
        out.insert(out.end(), logits.begin(), logits.end());
    }
    return out;
}

}  // namespace ostal::test
