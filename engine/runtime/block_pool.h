// The fixed pool of KV cache blocks, with reference counts.
//
// A block is an index in [0, total()); where its keys and values lie is KvCache's business. Every operation
// is O(1) and allocates nothing after construction. Not thread-safe: the scheduler thread owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace ostal::engine {

using BlockId = std::int32_t;

class BlockPool {
public:
    static constexpr BlockId kNone = -1;

    explicit BlockPool(std::int32_t total) {
        CHECK_GT(total, 0);
        references_.resize(static_cast<std::size_t>(total), 0);
        free_.reserve(references_.size());
        for (BlockId block = total; block > 0; --block) free_.push_back(block - 1);
    }

    std::int32_t total() const { return static_cast<std::int32_t>(references_.size()); }
    std::int32_t free() const { return static_cast<std::int32_t>(free_.size()); }

    // A free block with one reference, or kNone when all are in use.
    [[nodiscard]] BlockId take() {
        if (free_.empty()) return kNone;
        const BlockId block = free_.back();
        free_.pop_back();
        references_[index(block)] = 1;
        return block;
    }
    // One more holder of a block in use.
    void share(BlockId block) {
        CHECK_GT(references(block), 0);
        ++references_[index(block)];
    }
    // One holder less; the last one frees the block. CHECK: the block is in use.
    void release(BlockId block) {
        CHECK_GT(references(block), 0);
        if (--references_[index(block)] == 0) free_.push_back(block);
    }
    // Holders of the block; 0: free.
    std::int32_t references(BlockId block) const { return references_[index(block)]; }

private:
    std::size_t index(BlockId block) const {
        CHECK(block >= 0 && block < total());
        return static_cast<std::size_t>(block);
    }
    std::vector<std::int32_t> references_;  // by block
    std::vector<BlockId> free_;             // a stack: the block freed last is still warm in the cache
};

}  // namespace ostal::engine
