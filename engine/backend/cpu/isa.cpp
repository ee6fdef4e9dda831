#include "engine/backend/cpu/isa.h"

#include <string>

#include "base/check.h"

namespace ostal::engine::cpu {
namespace {

// What the kernels of an instruction set need and the machine lacks, " A B"; empty: nothing. The compiler's
// CPUID table counts a vector feature only where XGETBV says that the system saves its registers.
std::string missing_for_avx2() {
    __builtin_cpu_init();
    std::string missing;
    if (!__builtin_cpu_supports("avx2")) missing += " AVX2";
    if (!__builtin_cpu_supports("fma")) missing += " FMA";
    if (!__builtin_cpu_supports("f16c")) missing += " F16C";
    return missing;
}
std::string missing_for_avx512() {
    std::string missing = missing_for_avx2();
    if (!__builtin_cpu_supports("avx512f")) missing += " AVX512F";
    return missing;
}

std::string missing_for_vnni() {
    std::string missing = missing_for_avx512();
    if (!__builtin_cpu_supports("avx512vnni")) missing += " AVX512_VNNI";
    return missing;
}
std::string missing_for_bf16() {
    std::string missing = missing_for_avx512();
    if (!__builtin_cpu_supports("avx512bf16")) missing += " AVX512_BF16";
    return missing;
}

template <typename Table>
Result<const Table*> unless_missing(const std::string& missing, const Table& kernels) {
    if (missing.empty()) return &kernels;
    return fail(Code::kUnsupported,
                "the " + std::string(kernels.name) + " kernels need what this CPU lacks:" + missing);
}

tl::unexpected<Error> unknown(std::string_view isa, std::string_view known) {
    return fail(Code::kInvalidArgument,
                "unknown instruction set \"" + std::string(isa) + "\": " + std::string(known));
}

}  // namespace

Format format_of(DType dtype) {
    switch (dtype) {
        case DType::kF32: return kF32;
        case DType::kF16: return kF16;
        case DType::kBF16: return kBF16;
        case DType::kQ8_0: return kQ8_0;
        case DType::kQ4_0: return kQ4_0;
        case DType::kQ4_1: return kQ4_1;
        case DType::kQ5_0: return kQ5_0;
        case DType::kQ5_1: return kQ5_1;
        case DType::kQ4_K: return kQ4_K;
        case DType::kQ5_K: return kQ5_K;
        case DType::kQ6_K: return kQ6_K;
        case DType::kI32: break;
    }
    CHECK_UNREACHABLE("a weight of integers");
}

Result<const Kernels*> select_kernels(std::string_view isa) {
    if (isa == "scalar") return &kScalarKernels;
    if (isa == "avx2") return unless_missing(missing_for_avx2(), kAvx2Kernels);
    if (isa == "avx512") return unless_missing(missing_for_avx512(), kAvx512Kernels);
    if (!isa.empty()) return unknown(isa, "\"scalar\", \"avx2\" or \"avx512\"");
    // Not AVX-512 by itself: measured slower in decode (docs/performance.md).
    return missing_for_avx2().empty() ? &kAvx2Kernels : &kScalarKernels;
}

Result<const Int8Kernels*> select_int8_kernels(std::string_view isa) {
    const std::string missing = missing_for_vnni();
    if (isa == "scalar" || (isa.empty() && !missing.empty())) return &kScalarInt8Kernels;
    if (isa == "avx512vnni" || isa.empty()) return unless_missing(missing, kAvx512VnniKernels);
    return unknown(isa, "\"scalar\" or \"avx512vnni\"");
}

Result<const Bf16Kernels*> select_bf16_kernels(std::string_view isa) {
    const std::string missing = missing_for_bf16();
    if (isa == "scalar" || (isa.empty() && !missing.empty())) return &kScalarBf16Kernels;
    if (isa == "avx512bf16" || isa.empty()) return unless_missing(missing, kAvx512Bf16Kernels);
    return unknown(isa, "\"scalar\" or \"avx512bf16\"");
}

}  // namespace ostal::engine::cpu
