#include "engine/backend/cpu/vector_avx2.h"

#include "engine/backend/cpu/kernels_inl.h"

namespace ostal::engine::cpu {

extern constexpr Kernels kAvx2Kernels = make_kernels<Avx2>("avx2");

}  // namespace ostal::engine::cpu
