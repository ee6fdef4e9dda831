#include "engine/backend/cpu/vector_avx512.h"

#include "engine/backend/cpu/kernels_inl.h"

namespace ostal::engine::cpu {

extern constexpr Kernels kAvx512Kernels = make_kernels<Avx512>("avx512");

}  // namespace ostal::engine::cpu
