#include "security/crypto/content_hasher.h"

#include <algorithm>

namespace ostal::security {

void ContentHasher::update(ByteSpan bytes) {
    whole_.update(bytes);
    bytes_ += bytes.size();
    while (!bytes.empty()) {
        static constexpr std::uint8_t kLeafPrefix = 0x00;  // merkle_leaf() of a streamed leaf
        if (leaf_bytes_ == 0) leaf_.update({&kLeafPrefix, 1});
        const std::size_t count = std::min(bytes.size(), kMerkleLeafBytes - leaf_bytes_);
        leaf_.update(bytes.first(count));
        leaf_bytes_ += count;
        bytes = bytes.subspan(count);
        if (leaf_bytes_ == kMerkleLeafBytes) end_leaf();
    }
}

void ContentHasher::end_leaf() {
    tree_.add_leaf_hash(leaf_.finish());
    leaf_bytes_ = 0;
}

ContentDigest ContentHasher::finish() {
    if (leaf_bytes_ != 0) end_leaf();
    return {bytes_, whole_.finish(), tree_.root()};
}

}  // namespace ostal::security
