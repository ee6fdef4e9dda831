// The CPU backend.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/backend/backend.h"

namespace ostal::engine {

struct CpuBackendOptions {
    std::string isa;  // "" best of the machine, or "scalar", "avx2", "avx512"
    std::int32_t threads =
        0;  // of the team, the calling thread included; 0: physical cores the process may use
    bool pin_threads = false;  // one core a thread; attach_thread() pins the calling one
};

// kInvalidArgument for an unknown ISA, kUnsupported when the CPU lacks what it needs (named).
Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuBackendOptions& options);

}  // namespace ostal::engine
