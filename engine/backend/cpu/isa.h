// Which kernels this machine can run, and which of a table an element type needs.
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/backend/cpu/dot_kernels.h"
#include "engine/backend/cpu/kernels.h"
#include "engine/core/dtype.h"

namespace ostal::engine::cpu {

// The kernels of a named instruction set ("scalar", "avx2", "avx512"), "" for the fastest the CPU and the
// operating system support (CPUID and XGETBV). kInvalidArgument for an unknown name; kUnsupported names the
// missing features.
Result<const Kernels*> select_kernels(std::string_view isa);
// The same for the narrow dot products, which are feature bits of their own: "scalar" or "avx512vnni",
// "scalar" or "avx512bf16".
Result<const Int8Kernels*> select_int8_kernels(std::string_view isa);
Result<const Bf16Kernels*> select_bf16_kernels(std::string_view isa);

// The place of a weight type in the tables. Integers are no weights: CHECK.
Format format_of(DType dtype);

}  // namespace ostal::engine::cpu
