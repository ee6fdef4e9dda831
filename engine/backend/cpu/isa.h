// Which kernels this machine can run.
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/backend/cpu/kernels.h"

namespace ostal::engine::cpu {

// The kernels of a named instruction set, "" for the best the CPU and the operating system support (CPUID and
// XGETBV). kInvalidArgument for an unknown name; kUnsupported names the missing features.
Result<const Kernels*> select_kernels(std::string_view isa);

}  // namespace ostal::engine::cpu
