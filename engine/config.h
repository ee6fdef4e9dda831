// How an engine is set up.
#pragma once

#include <cstdint>
#include <string>

namespace ostal::engine {

struct EngineConfig {
    std::int32_t threads = 0;              // CPU team; 0: physical cores the process may use
    std::int32_t max_context_tokens = 0;   // 0: the model's own limit
    std::int32_t max_sequences = 64;       // running at once; more wait
    std::int32_t max_queue = 1000;         // waiting requests; more are refused with kUnavailable
    std::int32_t step_token_budget = 256;  // prefill tokens per step beside the running decodes
    std::int32_t kv_block_tokens = 32;
    std::int64_t kv_cache_bytes = 0;  // 0: enough for 8 sequences of full context, at most 1/4 of RAM
    std::int64_t full_sink_limit_us = 30'000'000;  // a request whose sink is full for so long is cancelled
    std::string isa;                               // "" best of the machine, or "scalar", "avx2", "avx512"
    bool pin_threads = true;
};

}  // namespace ostal::engine
