// For files compiled with an ISA's own flags: a function that leaves no symbol behind (see kernels.h).
#pragma once

#define OSTAL_INLINE static inline __attribute__((always_inline))
