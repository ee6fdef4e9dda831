// The digests of a file of a model: what a signed target states and a container of encrypted weights binds.
#pragma once

#include "security/crypto/hash.h"
#include "security/crypto/merkle.h"

namespace ostal::security {

inline constexpr std::size_t kMerkleLeafBytes = 1U << 20;

struct ContentDigest {
    std::uint64_t bytes = 0;
    Digest32 sha256{};
    Digest32 merkle_root{};  // over leaves of kMerkleLeafBytes; of no leaves when the content is empty
};

// SHA-256 and Merkle root of bytes that come in order, in one pass. One thread at a time; finish() once.
class ContentHasher {
public:
    void update(ByteSpan bytes);
    ContentDigest finish();

private:
    void end_leaf();
    Sha256 whole_;
    Sha256 leaf_;
    MerkleTree tree_;
    std::size_t leaf_bytes_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace ostal::security
