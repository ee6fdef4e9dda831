// Counts allocations: a test binary that lists allocation_count.cpp replaces the global operator new, which
// then counts its calls.
#pragma once

#include <cstdint>

namespace ostal::testing_support {

// Calls of any form of operator new, by the calling thread and by all threads, since the start.
std::uint64_t allocations_on_this_thread();
std::uint64_t allocations_on_all_threads();

}  // namespace ostal::testing_support
