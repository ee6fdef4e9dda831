#include "engine/io/quantise.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "engine/core/float_types.h"

namespace ostal::engine {
namespace {

constexpr std::size_t kBlock = 32;
constexpr std::uint16_t kF16Infinity = 0x7C00U;

// extreme / steps in f16, away from zero; an infinity when it is too large.
std::uint16_t scale_for(float extreme, float steps) {
    if (extreme == 0.0F) return 0;
    const std::uint16_t bits = f16_from_f32(extreme / steps);
    // The product is exact, and bits of one sign grow with the magnitude.
    const bool reached = std::abs(extreme) <= std::abs(steps * f32_from_f16(bits));
    return static_cast<std::uint16_t>(reached ? bits : bits + 1);
}

int nearest(float value, int low, int high) {
    return std::clamp(static_cast<int>(std::nearbyint(value)), low, high);
}

void put_q8_0(std::span<const float> x, float scale, std::uint8_t* q) {
    for (std::size_t i = 0; i < kBlock; ++i) {
        q[i] = scale == 0.0F ? std::uint8_t{0} : static_cast<std::uint8_t>(nearest(x[i] / scale, -127, 127));
    }
}

void put_q4_0(std::span<const float> x, float scale, std::uint8_t* q) {
    const auto level = [&](std::size_t i) {
        return scale == 0.0F ? 8U : static_cast<unsigned>(nearest(x[i] / scale, -8, 7) + 8);
    };
    for (std::size_t i = 0; i < kBlock / 2; ++i) {
        q[i] = static_cast<std::uint8_t>(level(i) | level(i + kBlock / 2) << 4);
    }
}

}  // namespace

Status quantise(DType to, std::span<const float> values, MutableByteSpan out) {
    CHECK(to == DType::kQ8_0 || to == DType::kQ4_0);
    CHECK_EQ(values.size() % kBlock, std::size_t{0});
    const auto bytes = static_cast<std::size_t>(block_bytes(to));
    CHECK_EQ(out.size(), values.size() / kBlock * bytes);
    for (std::size_t at = 0; at < values.size(); at += kBlock) {
        const std::span<const float> x = values.subspan(at, kBlock);
        const auto extreme =
            std::max_element(x.begin(), x.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
        const std::uint16_t scale =
            to == DType::kQ8_0 ? scale_for(std::abs(*extreme), 127.0F) : scale_for(*extreme, -8.0F);
        if ((scale & 0x7FFFU) >= kF16Infinity) {
            return fail(Code::kUnsupported,
                        "value " + std::to_string(at + static_cast<std::size_t>(extreme - x.begin())) +
                            " is too large for a block of " + std::string(dtype_name(to)));
        }
        std::uint8_t* block = out.data() + at / kBlock * bytes;
        store_le(block, scale);
        (to == DType::kQ8_0 ? put_q8_0 : put_q4_0)(x, f32_from_f16(scale), block + 2);
    }
    return {};
}

}  // namespace ostal::engine
