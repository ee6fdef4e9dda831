// Values to bytes of every element type and back; written for clarity, apart from the engine's own kernels.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "engine/core/float_types.h"
#include "tests/support/tiny_model.h"

namespace ostal::test {
namespace {

using engine::DType;

void put16(Bytes& out, std::uint16_t value) {
    out.push_back(static_cast<std::uint8_t>(value & 0xFFU));
    out.push_back(static_cast<std::uint8_t>(value >> 8));
}
void put32(Bytes& out, float value) {
    std::uint8_t raw[4];
    store_le(raw, std::bit_cast<std::uint32_t>(value));
    out.insert(out.end(), raw, raw + 4);
}
std::uint8_t level(float value, int low, int high) {
    return static_cast<std::uint8_t>(std::clamp(static_cast<int>(std::lround(value)), low, high));
}

float f16_at(const std::uint8_t* at) { return engine::f32_from_f16(load_le<std::uint16_t>(at)); }
float inverse_of(float scale) { return scale == 0.0F ? 0.0F : 1.0F / scale; }

// ---- Blocks of 32: nibbles (and fifth bits) of 32 numbers from 0.

void put_levels(const std::uint8_t (&q)[32], bool fifth, Bytes& out) {
    if (fifth) {
        std::uint32_t high = 0;
        for (std::size_t i = 0; i < 32; ++i) high |= std::uint32_t{q[i] > 15U} << i;
        put16(out, static_cast<std::uint16_t>(high));
        put16(out, static_cast<std::uint16_t>(high >> 16));
    }
    for (std::size_t i = 0; i < 16; ++i) {
        out.push_back(static_cast<std::uint8_t>((q[i] & 15U) | (q[i + 16] & 15U) << 4));
    }
}
std::uint8_t level_at(const std::uint8_t* block, std::size_t nibbles, std::size_t high, std::size_t i) {
    const std::uint8_t byte = block[nibbles + i % 16];
    unsigned q = i < 16 ? byte & 15U : static_cast<unsigned>(byte >> 4);
    if (high != 0) q |= ((load_le<std::uint32_t>(block + high) >> i) & 1U) << 4;
    return static_cast<std::uint8_t>(q);
}

void encode_block32(DType dtype, const float* x, Bytes& out) {
    const float least = *std::min_element(x, x + 32);
    const float most = *std::max_element(x, x + 32);
    const float extreme = std::abs(least) > std::abs(most) ? least : most;
    const bool five = dtype == DType::kQ5_0 || dtype == DType::kQ5_1;
    const bool has_minimum = dtype == DType::kQ4_1 || dtype == DType::kQ5_1;
    float scale = extreme / (five ? -16.0F : -8.0F);
    if (has_minimum) scale = (most - least) / (five ? 31.0F : 15.0F);
    if (dtype == DType::kQ8_0) scale = extreme / 127.0F;
    const std::uint16_t stored = engine::f16_from_f32(scale);
    const float kept = engine::f32_from_f16(stored);
    const float inverse = inverse_of(kept);
    put16(out, stored);
    if (dtype == DType::kQ8_0) {
        for (int i = 0; i < 32; ++i) out.push_back(level(x[i] * inverse, -127, 127));
        return;
    }
    float offset = (five ? -16.0F : -8.0F) * kept;
    if (has_minimum) {
        const std::uint16_t minimum = engine::f16_from_f32(least);
        offset = engine::f32_from_f16(minimum);
        put16(out, minimum);
    }
    std::uint8_t q[32];
    for (int i = 0; i < 32; ++i) q[i] = level((x[i] - offset) * inverse, 0, five ? 31 : 15);
    put_levels(q, five, out);
}

void decode_block32(DType dtype, const std::uint8_t* block, float* x) {
    const float scale = f16_at(block);
    for (std::size_t i = 0; i < 32; ++i) {
        const auto of = [&](std::size_t nibbles, std::size_t high) {
            return static_cast<float>(level_at(block, nibbles, high, i));
        };
        switch (dtype) {
            case DType::kQ8_0:
                x[i] = scale * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
                break;
            case DType::kQ4_0: x[i] = scale * (of(2, 0) - 8.0F); break;
            case DType::kQ4_1: x[i] = scale * of(4, 0) + f16_at(block + 2); break;
            case DType::kQ5_0: x[i] = scale * (of(6, 2) - 16.0F); break;
            default: x[i] = scale * of(8, 4) + f16_at(block + 2); break;
        }
    }
}

// ---- Blocks of 256

// q4_k and q5_k: value = d * scale * q - m * minimum; the numbers of group j, 0 to 63.
struct Group {
    unsigned scale = 0, minimum = 0;
};
Group group_at(const std::uint8_t* packed, std::size_t j) {
    if (j < 4) return {packed[j] & 63U, packed[j + 4] & 63U};
    return {(packed[j + 4] & 15U) + (packed[j - 4] / 64U) * 16U,
            packed[j + 4] / 16U + (packed[j] / 64U) * 16U};
}
void put_groups(const Group (&groups)[8], Bytes& out) {
    std::uint8_t packed[12];
    for (std::size_t j = 0; j < 4; ++j) {
        packed[j] = static_cast<std::uint8_t>(groups[j].scale + groups[j + 4].scale / 16U * 64U);
        packed[j + 4] = static_cast<std::uint8_t>(groups[j].minimum + groups[j + 4].minimum / 16U * 64U);
        packed[j + 8] =
            static_cast<std::uint8_t>(groups[j + 4].scale % 16U + groups[j + 4].minimum % 16U * 16U);
    }
    out.insert(out.end(), packed, packed + 12);
}

void encode_q45_k(DType dtype, const float* x, Bytes& out) {
    const int most = dtype == DType::kQ5_K ? 31 : 15;
    float scales[8], minima[8];
    for (int j = 0; j < 8; ++j) {
        minima[j] = std::max(0.0F, -*std::min_element(x + 32 * j, x + 32 * j + 32));
        const float highest = *std::max_element(x + 32 * j, x + 32 * j + 32);
        scales[j] = std::max(0.0F, highest + minima[j]) / static_cast<float>(most);
    }
    const std::uint16_t d = engine::f16_from_f32(*std::max_element(scales, scales + 8) / 63.0F);
    const std::uint16_t m = engine::f16_from_f32(*std::max_element(minima, minima + 8) / 63.0F);
    const float d_kept = engine::f32_from_f16(d), m_kept = engine::f32_from_f16(m);
    put16(out, d);
    put16(out, m);
    Group groups[8];
    std::uint8_t q[256];
    for (int j = 0; j < 8; ++j) {
        groups[j].scale = level(scales[j] * inverse_of(d_kept), 0, 63);
        groups[j].minimum = level(minima[j] * inverse_of(m_kept), 0, 63);
        const float inverse = inverse_of(d_kept * static_cast<float>(groups[j].scale));
        const float minimum = m_kept * static_cast<float>(groups[j].minimum);
        for (int i = 32 * j; i < 32 * j + 32; ++i) q[i] = level((x[i] + minimum) * inverse, 0, most);
    }
    put_groups(groups, out);
    if (dtype == DType::kQ5_K) {
        for (std::size_t i = 0; i < 32; ++i) {
            unsigned bits = 0;
            for (std::size_t j = 0; j < 8; ++j) bits |= unsigned{q[32 * j + i] > 15U} << j;
            out.push_back(static_cast<std::uint8_t>(bits));
        }
    }
    for (std::size_t g = 0; g < 4; ++g) {
        for (std::size_t i = 64 * g; i < 64 * g + 32; ++i) {
            out.push_back(static_cast<std::uint8_t>((q[i] & 15U) | (q[i + 32] & 15U) << 4));
        }
    }
}

void decode_q45_k(DType dtype, const std::uint8_t* block, float* x) {
    const bool five = dtype == DType::kQ5_K;
    for (std::size_t i = 0; i < 256; ++i) {
        const std::size_t j = i / 32;
        const Group group = group_at(block + 4, j);
        const std::uint8_t byte = block[(five ? 48 : 16) + j / 2 * 32 + i % 32];
        unsigned q = j % 2 == 0 ? byte % 16U : byte / 16U;
        if (five) q += ((block[16 + i % 32] >> j) & 1U) * 16U;
        x[i] = f16_at(block) * static_cast<float>(group.scale) * static_cast<float>(q) -
               f16_at(block + 2) * static_cast<float>(group.minimum);
    }
}

void encode_q6_k(const float* x, Bytes& out) {
    float scales[16];
    float largest = 0;
    for (int g = 0; g < 16; ++g) {
        scales[g] = 0;
        for (int i = 16 * g; i < 16 * g + 16; ++i) {
            if (std::abs(x[i]) > std::abs(scales[g]) * 32.0F) scales[g] = x[i] / -32.0F;
        }
        if (std::abs(scales[g]) > std::abs(largest)) largest = scales[g];
    }
    const std::uint16_t d = engine::f16_from_f32(largest / -128.0F);
    const float kept = engine::f32_from_f16(d);
    std::uint8_t low[128] = {}, high[64] = {}, bytes[16];
    for (std::size_t i = 0; i < 256; ++i) {
        bytes[i / 16] = level(scales[i / 16] * inverse_of(kept), -128, 127);
        const float scale = kept * static_cast<float>(static_cast<std::int8_t>(bytes[i / 16]));
        const unsigned q = level(x[i] * inverse_of(scale) + 32.0F, 0, 63);
        const std::size_t half = i / 128, in = i % 128;
        low[64 * half + in % 64] |= static_cast<std::uint8_t>(q % 16U << (in / 64 * 4));
        high[32 * half + in % 32] |= static_cast<std::uint8_t>(q / 16U << (in / 32 * 2));
    }
    out.insert(out.end(), low, low + 128);
    out.insert(out.end(), high, high + 64);
    out.insert(out.end(), bytes, bytes + 16);
    put16(out, d);
}

void decode_q6_k(const std::uint8_t* block, float* x) {
    for (std::size_t i = 0; i < 256; ++i) {
        const std::size_t half = i / 128, in = i % 128;
        const unsigned low = (block[64 * half + in % 64] >> (in / 64 * 4)) % 16U;
        const unsigned top = (block[128 + 32 * half + in % 32] >> (in / 32 * 2)) % 4U;
        const int scale = static_cast<std::int8_t>(block[192 + i / 16]);
        x[i] = f16_at(block + 208) * static_cast<float>(scale) *
               static_cast<float>(static_cast<int>(low + 16U * top) - 32);
    }
}

void encode_block(DType dtype, const float* x, Bytes& out) {
    if (engine::block_elements(dtype) == 32) return encode_block32(dtype, x, out);
    if (dtype == DType::kQ6_K) return encode_q6_k(x, out);
    encode_q45_k(dtype, x, out);
}
void decode_block(DType dtype, const std::uint8_t* block, float* x) {
    if (engine::block_elements(dtype) == 32) return decode_block32(dtype, block, x);
    if (dtype == DType::kQ6_K) return decode_q6_k(block, x);
    decode_q45_k(dtype, block, x);
}

}  // namespace

Bytes encode_values(DType dtype, const std::vector<float>& values) {
    Bytes out;
    out.reserve(values.size() * 4);
    if (engine::is_quantised(dtype)) {
        const auto block = static_cast<std::size_t>(engine::block_elements(dtype));
        CHECK_EQ(values.size() % block, std::size_t{0});
        for (std::size_t at = 0; at < values.size(); at += block)
            encode_block(dtype, values.data() + at, out);
        return out;
    }
    for (const float value : values) {
        if (dtype == DType::kF32) put32(out, value);
        if (dtype == DType::kF16) put16(out, engine::f16_from_f32(value));
        if (dtype == DType::kBF16) put16(out, engine::bf16_from_f32(value));
    }
    return out;
}

std::vector<float> decode_values(DType dtype, ByteSpan bytes) {
    const auto block = static_cast<std::size_t>(engine::block_bytes(dtype));
    const auto elements = static_cast<std::size_t>(engine::block_elements(dtype));
    CHECK_EQ(bytes.size() % block, std::size_t{0});
    std::vector<float> values(bytes.size() / block * elements);
    for (std::size_t i = 0; i < bytes.size() / block; ++i) {
        const std::uint8_t* from = bytes.data() + i * block;
        float* to = values.data() + i * elements;
        if (engine::is_quantised(dtype)) decode_block(dtype, from, to);
        if (dtype == DType::kF32) *to = std::bit_cast<float>(load_le<std::uint32_t>(from));
        if (dtype == DType::kF16) *to = engine::f32_from_f16(load_le<std::uint16_t>(from));
        if (dtype == DType::kBF16) *to = engine::f32_from_bf16(load_le<std::uint16_t>(from));
    }
    return values;
}

}  // namespace ostal::test
