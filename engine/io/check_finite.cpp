#include <bit>
#include <cstddef>

#include "base/check.h"
#include "engine/core/float_types.h"
#include "engine/io/model_files.h"

namespace ostal::engine {
namespace {

// True when no 16-bit word of the `count` has all bits of `exponent` set. Branch-free inside, so that it is
// vectorised: this runs over every byte of a model at load.
bool exponents16_finite(const std::uint8_t* bytes, std::size_t count, std::uint16_t exponent) {
    bool finite = true;
    for (std::size_t i = 0; i < count; ++i) {
        const auto word = load_le<std::uint16_t>(bytes + 2 * i);
        finite &= (word & exponent) != exponent;
    }
    return finite;
}
bool exponents32_finite(const std::uint8_t* bytes, std::size_t count) {
    constexpr std::uint32_t kExponent = 0x7F800000U;
    bool finite = true;
    for (std::size_t i = 0; i < count; ++i) {
        finite &= (load_le<std::uint32_t>(bytes + 4 * i) & kExponent) != kExponent;
    }
    return finite;
}

constexpr std::uint16_t kF16Exponent = 0x7C00U;
constexpr std::uint16_t kBF16Exponent = 0x7F80U;

// Where the f16 scale and minimum of a quantised block lie; minimum -1: there is none.
struct BlockScales {
    std::ptrdiff_t scale;
    std::ptrdiff_t minimum;
};
BlockScales scales_of(DType dtype) {
    switch (dtype) {
        case DType::kQ4_1:
        case DType::kQ5_1:
        case DType::kQ4_K:
        case DType::kQ5_K: return {0, 2};
        case DType::kQ6_K: return {208, -1};
        default: return {0, -1};
    }
}

bool f16_finite(const std::uint8_t* at) {
    return (load_le<std::uint16_t>(at) & kF16Exponent) != kF16Exponent;
}

bool all_finite(DType dtype, ByteSpan bytes) {
    const std::size_t blocks = bytes.size() / static_cast<std::size_t>(block_bytes(dtype));
    switch (dtype) {
        case DType::kF32: return exponents32_finite(bytes.data(), blocks);
        case DType::kF16: return exponents16_finite(bytes.data(), blocks, kF16Exponent);
        case DType::kBF16: return exponents16_finite(bytes.data(), blocks, kBF16Exponent);
        case DType::kI32: return true;
        default: break;
    }
    const auto size = static_cast<std::size_t>(block_bytes(dtype));
    const BlockScales at = scales_of(dtype);
    bool finite = true;
    for (std::size_t i = 0; i < blocks; ++i) {
        const std::uint8_t* block = bytes.data() + i * size;
        finite &= f16_finite(block + at.scale);
        if (at.minimum >= 0) finite &= f16_finite(block + at.minimum);
    }
    return finite;
}

bool is_nan_at(DType dtype, const std::uint8_t* value) {
    switch (dtype) {
        case DType::kF32: return (load_le<std::uint32_t>(value) & 0x7FFFFFU) != 0;
        case DType::kBF16: return (load_le<std::uint16_t>(value) & 0x7FU) != 0;
        default: return (load_le<std::uint16_t>(value) & 0x3FFU) != 0;
    }
}

}  // namespace

Status check_finite(DType dtype, ByteSpan bytes) {
    const auto size = static_cast<std::size_t>(block_bytes(dtype));
    CHECK_EQ(bytes.size() % size, std::size_t{0});
    if (all_finite(dtype, bytes)) return {};
    std::size_t at = 0;
    while (all_finite(dtype, bytes.subspan(at * size, size))) ++at;
    const std::uint8_t* value = bytes.data() + at * size;
    std::string_view part = "weight";
    if (is_quantised(dtype)) {
        const BlockScales scales = scales_of(dtype);
        const bool scale_is_bad = !f16_finite(value + scales.scale);
        part = scale_is_bad ? "scale" : "block minimum";
        value += scale_is_bad ? scales.scale : scales.minimum;
    }
    return fail(Code::kIntegrity,
                std::string(is_nan_at(dtype, value) ? "NaN " : "infinite ") + std::string(part) + " (value " +
                    std::to_string(at * static_cast<std::size_t>(block_elements(dtype))) + ")");
}

}  // namespace ostal::engine
