#include "engine/runtime/kv_plan.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/check.h"

namespace ostal::engine {

Result<KvPlan> plan_kv_cache(const EngineConfig& config, std::int32_t context, std::int64_t block_bytes,
                             std::int64_t ram_bytes) {
    CHECK(context > 0 && block_bytes > 0 && config.kv_block_tokens > 0 && config.max_sequences > 0);
    if (config.max_context_tokens > 0) context = std::min(context, config.max_context_tokens);
    const std::int64_t block_tokens = config.kv_block_tokens;
    const std::int64_t blocks_of_one = (context + block_tokens - 1) / block_tokens;
    // More than all sequences can use at once is never needed.
    const std::int64_t most = blocks_of_one * config.max_sequences;
    const std::int64_t bytes = config.kv_cache_bytes > 0 ? config.kv_cache_bytes : ram_bytes / 4;
    std::int64_t blocks = std::min(most, bytes / block_bytes);
    if (config.kv_cache_bytes == 0) blocks = std::min(blocks, 8 * blocks_of_one);
    blocks = std::min<std::int64_t>(blocks, std::numeric_limits<std::int32_t>::max());
    KvPlan plan;
    plan.blocks = static_cast<std::int32_t>(blocks);
    plan.context_length = static_cast<std::int32_t>(std::min<std::int64_t>(context, blocks * block_tokens));
    if (plan.context_length < 2) {  // a token of prompt and one of answer
        return fail(Code::kInvalidArgument,
                    "a KV cache of " + std::to_string(bytes) + " bytes holds " + std::to_string(blocks) +
                        " blocks of " + std::to_string(block_tokens) + " tokens, " +
                        std::to_string(block_bytes) + " bytes each: raise kv_cache_bytes");
    }
    return plan;
}

}  // namespace ostal::engine
