// How many KV blocks an engine gets, and how long its sequences may then be.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "engine/config.h"

namespace ostal::engine {

struct KvPlan {
    std::int32_t blocks = 0;
    std::int32_t context_length = 0;  // the longest sequence: never more than the blocks hold
};

// `context` is the model's own limit, `block_bytes` one block's size in all layers, `ram_bytes` the
// machine's. With config.kv_cache_bytes the cache has that size; without, it holds 8 sequences (max_sequences
// when that is less) of the context, in at most a quarter of the RAM. A cache smaller than one sequence of
// the context shortens the context. kInvalidArgument when not even one block fits.
Result<KvPlan> plan_kv_cache(const EngineConfig& config, std::int32_t context, std::int64_t block_bytes,
                             std::int64_t ram_bytes);

}  // namespace ostal::engine
