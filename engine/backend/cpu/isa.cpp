#include "engine/backend/cpu/isa.h"

#include <string>

namespace ostal::engine::cpu {
namespace {

// What the AVX2 kernels need and the machine lacks; empty: nothing.
std::string missing_for_avx2() {
    __builtin_cpu_init();
    std::string missing;
    if (!__builtin_cpu_supports("avx2")) missing += " AVX2";
    if (!__builtin_cpu_supports("fma")) missing += " FMA";
    if (!__builtin_cpu_supports("f16c")) missing += " F16C";
    return missing;
}

}  // namespace

Result<const Kernels*> select_kernels(std::string_view isa) {
    if (isa == "scalar") return &kScalarKernels;
    if (!isa.empty() && isa != "avx2") {
        return fail(Code::kInvalidArgument,
                    "unknown instruction set \"" + std::string(isa) + "\": \"scalar\" or \"avx2\"");
    }
    const std::string missing = missing_for_avx2();
    if (missing.empty()) return &kAvx2Kernels;
    if (isa.empty()) return &kScalarKernels;
    return fail(Code::kUnsupported, "the avx2 kernels need what this CPU lacks:" + missing);
}

}  // namespace ostal::engine::cpu
