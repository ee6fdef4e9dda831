#include "engine/model/kv_cache.h"

namespace ostal::engine {

std::int64_t KvCacheShape::block_bytes() const {
    return 2 * std::int64_t{layers} * kv_heads * block_tokens * row_bytes(dtype, head_dim);
}

Result<KvCache> KvCache::create(const KvCacheShape& shape) {
    CHECK(shape.dtype == DType::kF32 || shape.dtype == DType::kBF16);
    ArenaPlan plan;
    for (std::int32_t i = 0; i < 2 * shape.layers; ++i) {
        plan.allocate(shape.dtype, {shape.blocks, shape.kv_heads, shape.block_tokens, shape.head_dim});
    }
    KvCache cache;
    OSTAL_TRY(cache.arena_, Arena::create("the KV cache", plan.bytes()));
    cache.shape_ = shape;
    for (std::int32_t i = 0; i < shape.layers; ++i) {
        KvLayer layer;
        for (View* view : {&layer.keys, &layer.values}) {
            *view = cache.arena_.allocate(shape.dtype,
                                          {shape.blocks, shape.kv_heads, shape.block_tokens, shape.head_dim});
        }
        cache.layers_.push_back(layer);
    }
    return cache;
}

}  // namespace ostal::engine
