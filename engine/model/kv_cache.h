// The paged KV cache: memory in blocks of B tokens that the scheduler hands to sequences by number.
//
// Source: Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention"
// (2023).
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "engine/core/arena.h"
#include "engine/core/view.h"

namespace ostal::engine {

// Keys (after RoPE) and values of one layer: [blocks, K kv heads, B tokens, Dh], f32 or bf16. Token p of a
// sequence lies in block block_table[p / B] at place p % B.
struct KvLayer {
    View keys;
    View values;

    std::int64_t blocks() const { return keys.shape[0]; }
    std::int64_t kv_heads() const { return keys.shape[1]; }
    std::int64_t block_tokens() const { return keys.shape[2]; }
    std::int64_t head_dim() const { return keys.shape[3]; }
};

struct KvCacheShape {
    std::int32_t layers = 0;
    std::int32_t kv_heads = 0;
    std::int32_t head_dim = 0;
    std::int32_t block_tokens = 32;
    std::int32_t blocks = 0;
    DType dtype = DType::kF32;  // kF32 or kBF16

    // Of one block in all layers, keys and values.
    std::int64_t block_bytes() const;
};

// Owns the blocks; which block belongs to whom is the scheduler's business (runtime/block_pool.h).
class KvCache {
public:
    // kResourceExhausted.
    static Result<KvCache> create(const KvCacheShape& shape);

    const KvCacheShape& shape() const { return shape_; }
    const KvLayer& layer(std::int32_t index) const { return layers_[static_cast<std::size_t>(index)]; }
    const Arena& arena() const { return arena_; }

private:
    KvCache() = default;
    KvCacheShape shape_;
    Arena arena_;
    std::vector<KvLayer> layers_;
};

}  // namespace ostal::engine
