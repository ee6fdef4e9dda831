// The largest single allocation of the calling thread, to prove that a length in a file is checked before
// memory is taken for it. Linking ostal_allocation_watch replaces operator new of the whole test binary.
#pragma once

#include <cstddef>

namespace ostal::test {

// Starts anew at 0.
void reset_largest_allocation();
std::size_t largest_allocation();

}  // namespace ostal::test
