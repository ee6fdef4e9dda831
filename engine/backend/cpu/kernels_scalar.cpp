// The specification of the CPU kernels, and what runs where there is no AVX2: plain loops, sums from left to
// right.
#include <math.h>
#include <string.h>

#include "engine/backend/cpu/kernels.h"
#include "engine/backend/cpu/scalar_values.h"

namespace ostal::engine::cpu {
namespace {

void dequantise_f32(const void* row, int64_t n, float* out) {
    memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
}

void dequantise_f16(const void* row, int64_t n, float* out) {
    const auto* bytes = static_cast<const uint8_t*>(row);
    for (int64_t i = 0; i < n; ++i) out[i] = f16_value(load_u16(bytes + 2 * i));
}

void dequantise_bf16(const void* row, int64_t n, float* out) {
    const auto* bytes = static_cast<const uint8_t*>(row);
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_value(load_u16(bytes + 2 * i));
}

// Block layouts: engine/core/dtype.h.
void dequantise_q8_0(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 32, block += 34) {
        const float d = f16_value(load_u16(block));
        for (int i = 0; i < 32; ++i)
            out[begin + i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
    }
}

void dequantise_q4_0(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 32, block += 18) {
        const float d = f16_value(load_u16(block));
        for (int i = 0; i < 16; ++i) {
            out[begin + i] = d * static_cast<float>((block[2 + i] & 15) - 8);
            out[begin + 16 + i] = d * static_cast<float>((block[2 + i] >> 4) - 8);
        }
    }
}

void dequantise_q4_1(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 32, block += 20) {
        const float d = f16_value(load_u16(block));
        const float m = f16_value(load_u16(block + 2));
        for (int i = 0; i < 16; ++i) {
            out[begin + i] = d * static_cast<float>(block[4 + i] & 15) + m;
            out[begin + 16 + i] = d * static_cast<float>(block[4 + i] >> 4) + m;
        }
    }
}

// The fifth bits of a block of 32: bit i of value i.
int fifth_bit(const uint8_t* high, int i) { return ((high[i / 8] >> (i % 8)) & 1) << 4; }

void dequantise_q5_0(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 32, block += 22) {
        const float d = f16_value(load_u16(block));
        for (int i = 0; i < 16; ++i) {
            const int low = (block[6 + i] & 15) | fifth_bit(block + 2, i);
            const int high = (block[6 + i] >> 4) | fifth_bit(block + 2, i + 16);
            out[begin + i] = d * static_cast<float>(low - 16);
            out[begin + 16 + i] = d * static_cast<float>(high - 16);
        }
    }
}

void dequantise_q5_1(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 32, block += 24) {
        const float d = f16_value(load_u16(block));
        const float m = f16_value(load_u16(block + 2));
        for (int i = 0; i < 16; ++i) {
            const int low = (block[8 + i] & 15) | fifth_bit(block + 4, i);
            const int high = (block[8 + i] >> 4) | fifth_bit(block + 4, i + 16);
            out[begin + i] = d * static_cast<float>(low) + m;
            out[begin + 16 + i] = d * static_cast<float>(high) + m;
        }
    }
}

// The scale and the minimum of group j of a q4_k or q5_k block.
struct GroupScale {
    int scale, minimum;
};
GroupScale group_scale(const uint8_t* packed, int j) {
    if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
    return {(packed[j + 4] & 15) | (packed[j - 4] >> 6 << 4), (packed[j + 4] >> 4) | (packed[j] >> 6 << 4)};
}

void dequantise_q4_k(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 256, block += 144) {
        const float d = f16_value(load_u16(block));
        const float m = f16_value(load_u16(block + 2));
        for (int j = 0; j < 8; ++j) {
            const GroupScale group = group_scale(block + 4, j);
            const float scale = d * static_cast<float>(group.scale);
            const float minimum = m * static_cast<float>(group.minimum);
            for (int i = 0; i < 32; ++i) {
                const int q = (block[16 + 32 * (j / 2) + i] >> (4 * (j % 2))) & 15;
                out[begin + 32 * j + i] = scale * static_cast<float>(q) - minimum;
            }
        }
    }
}

void dequantise_q5_k(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 256, block += 176) {
        const float d = f16_value(load_u16(block));
        const float m = f16_value(load_u16(block + 2));
        for (int j = 0; j < 8; ++j) {
            const GroupScale group = group_scale(block + 4, j);
            const float scale = d * static_cast<float>(group.scale);
            const float minimum = m * static_cast<float>(group.minimum);
            for (int i = 0; i < 32; ++i) {
                const int fifth = ((block[16 + i] >> j) & 1) << 4;
                const int q = ((block[48 + 32 * (j / 2) + i] >> (4 * (j % 2))) & 15) | fifth;
                out[begin + 32 * j + i] = scale * static_cast<float>(q) - minimum;
            }
        }
    }
}

void dequantise_q6_k(const void* row, int64_t n, float* out) {
    const auto* block = static_cast<const uint8_t*>(row);
    for (int64_t begin = 0; begin < n; begin += 256, block += 210) {
        const float d = f16_value(load_u16(block + 208));
        for (int i = 0; i < 256; ++i) {
            const int half = i / 128, in_half = i % 128;
            const int low = (block[64 * half + in_half % 64] >> (4 * (in_half / 64))) & 15;
            const int top = (block[128 + 32 * half + in_half % 32] >> (2 * (in_half / 32))) & 3;
            const int scale = static_cast<int8_t>(block[192 + i / 16]);
            out[begin + i] = d * static_cast<float>(scale) * static_cast<float>((low | top << 4) - 32);
        }
    }
}

using Dequantise = void (*)(const void* row, int64_t n, float* out);

void finish(const MultiplyArgs& args, int64_t token, int64_t row, float dot) {
    const int64_t out_row = args.out_rows != nullptr ? args.out_rows[token] : token;
    float* out = args.out + out_row * args.out_stride + row;
    const float scale = args.scale != nullptr ? args.scale[token] : 1.0F;
    switch (args.mode) {
        case kMultiplyStore: *out = scale * dot; break;
        case kMultiplyAdd: *out = *out + scale * dot; break;
        case kMultiplyGate: *out = *out / (1.0F + expf(-*out)) * dot; break;
    }
}

// Weights are unpacked a chunk at a time and used for all tokens; a sum still runs from the first value to
// the last.
template <Dequantise dequantise, int64_t kBlock, int64_t kBlockBytes>
void multiply(const MultiplyArgs& args) {
    constexpr int64_t kChunk = 512;  // values: whole blocks
    constexpr int64_t kTokens = 64;
    for (int64_t row = 0; row < args.rows; ++row) {
        const char* weight = static_cast<const char*>(args.weight) + row * args.row_stride_bytes;
        for (int64_t first = 0; first < args.tokens; first += kTokens) {
            const int64_t tokens = args.tokens - first < kTokens ? args.tokens - first : kTokens;
            float dots[kTokens] = {};
            for (int64_t begin = 0; begin < args.k; begin += kChunk) {
                const int64_t n = args.k - begin < kChunk ? args.k - begin : kChunk;
                float w[kChunk];
                dequantise(weight + begin / kBlock * kBlockBytes, n, w);
                for (int64_t t = 0; t < tokens; ++t) {
                    const int64_t x_row = args.x_rows != nullptr ? args.x_rows[first + t] : first + t;
                    const float* x = args.x + x_row * args.x_stride + begin;
                    for (int64_t i = 0; i < n; ++i) dots[t] += w[i] * x[i];
                }
            }
            for (int64_t t = 0; t < tokens; ++t) finish(args, first + t, row, dots[t]);
        }
    }
}

// Running maximum and sum over blocks of keys (Milakov and Gimelshein, algorithm 3).
template <Dequantise dequantise, int64_t kBytes>
void attention(const AttentionArgs& args) {
    const int64_t dim = args.head_dim;
    for (int32_t token = 0; token < args.tokens; ++token) {
        for (int32_t head = 0; head < args.group; ++head) {
            const float* q = args.q + token * args.q_stride + head * dim;
            float* out = args.out + token * args.out_stride + head * dim;
            float max = -INFINITY;
            float sum = 0.0F;
            for (int64_t d = 0; d < dim; ++d) out[d] = 0.0F;

            const int32_t keys = args.first_position + token + 1;
            int32_t first = args.window > 0 && keys > args.window ? keys - args.window : 0;
            for (int32_t n = 0; first < keys; first += n) {
                const int32_t begin = first % args.block_tokens;  // in the block; above 0 in the first alone
                n = args.block_tokens - begin;
                if (n > keys - first) n = keys - first;
                const int64_t at = args.block_table[first / args.block_tokens] * args.block_stride_bytes +
                                   begin * dim * kBytes;
                const char* key = static_cast<const char*>(args.keys) + at;
                const char* value = static_cast<const char*>(args.values) + at;
                float row[256];
                float score[128];
                float new_max = max;
                for (int32_t j = 0; j < n; ++j) {
                    dequantise(key + j * dim * kBytes, dim, row);
                    float dot = 0.0F;
                    for (int64_t d = 0; d < dim; ++d) dot += q[d] * row[d];
                    score[j] = dot * args.scale;
                    if (score[j] > new_max) new_max = score[j];
                }
                const float correction = expf(max - new_max);
                sum *= correction;
                for (int64_t d = 0; d < dim; ++d) out[d] *= correction;
                for (int32_t j = 0; j < n; ++j) {
                    const float weight = expf(score[j] - new_max);
                    sum += weight;
                    dequantise(value + j * dim * kBytes, dim, row);
                    for (int64_t d = 0; d < dim; ++d) out[d] += weight * row[d];
                }
                max = new_max;
            }
            for (int64_t d = 0; d < dim; ++d) out[d] /= sum;
        }
    }
}

void rms_norm(const float* x, const float* gain, int64_t n, float eps, float* out) {
    float squares = 0.0F;
    for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
    const float scale = 1.0F / sqrtf(squares / static_cast<float>(n) + eps);
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * gain[i];
}

void rope(const float* x, const float* cosines, const float* sines, int64_t heads, int64_t half, float* out) {
    for (int64_t head = 0; head < heads; ++head, x += 2 * half, out += 2 * half) {
        for (int64_t i = 0; i < half; ++i) {
            const float a = x[i];
            const float b = x[i + half];
            out[i] = a * cosines[i] - b * sines[i];
            out[i + half] = b * cosines[i] + a * sines[i];
        }
    }
}

void to_bf16(const float* x, int64_t n, uint16_t* out) {
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
        bits = nan ? bits | 0x400000U : bits + 0x7FFFU + ((bits >> 16) & 1U);
        out[i] = static_cast<uint16_t>(bits >> 16);
    }
}

int all_finite(const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        if (!(fabsf(x[i]) < INFINITY)) return 0;
    }
    return 1;
}

}  // namespace

const Kernels kScalarKernels = {
    .name = "scalar",
    .dequantise = {dequantise_f32, dequantise_f16, dequantise_bf16, dequantise_q8_0, dequantise_q4_0,
                   dequantise_q4_1, dequantise_q5_0, dequantise_q5_1, dequantise_q4_k, dequantise_q5_k,
                   dequantise_q6_k},
    .multiply = {multiply<dequantise_f32, 1, 4>, multiply<dequantise_f16, 1, 2>,
                 multiply<dequantise_bf16, 1, 2>, multiply<dequantise_q8_0, 32, 34>,
                 multiply<dequantise_q4_0, 32, 18>, multiply<dequantise_q4_1, 32, 20>,
                 multiply<dequantise_q5_0, 32, 22>, multiply<dequantise_q5_1, 32, 24>,
                 multiply<dequantise_q4_k, 256, 144>, multiply<dequantise_q5_k, 256, 176>,
                 multiply<dequantise_q6_k, 256, 210>},
    .attention = {attention<dequantise_f32, 4>, nullptr, attention<dequantise_bf16, 2>},
    .rms_norm = rms_norm,
    .rope = rope,
    .to_bf16 = to_bf16,
    .all_finite = all_finite,
};

}  // namespace ostal::engine::cpu
