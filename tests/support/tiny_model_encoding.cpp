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
using engine::kQuantBlock;

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

void encode_block(DType dtype, const float* x, Bytes& out) {
    const float least = *std::min_element(x, x + kQuantBlock);
    const float most = *std::max_element(x, x + kQuantBlock);
    const float extreme = std::abs(least) > std::abs(most) ? least : most;
    float scale = extreme / 127.0F;
    if (dtype == DType::kQ4_0) scale = extreme / -8.0F;
    if (dtype == DType::kQ4_1) scale = (most - least) / 15.0F;
    const std::uint16_t stored = engine::f16_from_f32(scale);
    const float kept = engine::f32_from_f16(stored);
    const float inverse = kept == 0.0F ? 0.0F : 1.0F / kept;
    put16(out, stored);
    if (dtype == DType::kQ8_0) {
        for (int i = 0; i < kQuantBlock; ++i) out.push_back(level(x[i] * inverse, -127, 127));
        return;
    }
    float offset = -8.0F * kept;
    if (dtype == DType::kQ4_1) {
        const std::uint16_t minimum = engine::f16_from_f32(least);
        offset = engine::f32_from_f16(minimum);
        put16(out, minimum);
    }
    for (int i = 0; i < kQuantBlock / 2; ++i) {
        const std::uint8_t low = level((x[i] - offset) * inverse, 0, 15);
        const std::uint8_t high = level((x[i + kQuantBlock / 2] - offset) * inverse, 0, 15);
        out.push_back(static_cast<std::uint8_t>(low | (high << 4)));
    }
}

void decode_block(DType dtype, const std::uint8_t* block, float* x) {
    const float scale = engine::f32_from_f16(load_le<std::uint16_t>(block));
    if (dtype == DType::kQ8_0) {
        for (int i = 0; i < kQuantBlock; ++i)
            x[i] = scale * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
        return;
    }
    const bool has_minimum = dtype == DType::kQ4_1;
    const float offset =
        has_minimum ? engine::f32_from_f16(load_le<std::uint16_t>(block + 2)) : -8.0F * scale;
    const std::uint8_t* levels = block + (has_minimum ? 4 : 2);
    for (int i = 0; i < kQuantBlock / 2; ++i) {
        x[i] = scale * static_cast<float>(levels[i] & 15U) + offset;
        x[i + kQuantBlock / 2] = scale * static_cast<float>(levels[i] >> 4) + offset;
    }
}

}  // namespace

Bytes encode_values(DType dtype, const std::vector<float>& values) {
    Bytes out;
    out.reserve(values.size() * 4);
    if (engine::is_quantised(dtype)) {
        CHECK_EQ(values.size() % kQuantBlock, std::size_t{0});
        for (std::size_t at = 0; at < values.size(); at += kQuantBlock)
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
