#include <bit>

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

bool block_finite(const std::uint8_t* block, bool has_minimum) {
    return (load_le<std::uint16_t>(block) & kF16Exponent) != kF16Exponent &&
           (!has_minimum || (load_le<std::uint16_t>(block + 2) & kF16Exponent) != kF16Exponent);
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
    bool finite = true;
    for (std::size_t i = 0; i < blocks; ++i)
        finite &= block_finite(bytes.data() + i * size, dtype == DType::kQ4_1);
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
    const bool in_scale = is_quantised(dtype);
    std::string_view part = "weight";
    if (in_scale && !block_finite(value, false)) {
        part = "scale";
    } else if (in_scale) {
        part = "block minimum";
        value += 2;
    }
    return fail(Code::kIntegrity,
                std::string(is_nan_at(dtype, value) ? "NaN " : "infinite ") + std::string(part) + " (value " +
                    std::to_string(at * static_cast<std::size_t>(block_elements(dtype))) + ")");
}

}  // namespace ostal::engine
