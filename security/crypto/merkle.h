// The Merkle tree of RFC 6962 section 2.1 (and RFC 9162 section 2.1.3-2.1.4 for
// verification): weight files (leaves of 1 MiB) and the audit log (leaves are
// records).
//
//   leaf = SHA-256(0x00 || data)      node = SHA-256(0x01 || left || right)
//   empty tree = SHA-256("")
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "security/crypto/hash.h"

namespace ostal::security {

Digest32 merkle_leaf(ByteSpan data);
Digest32 merkle_node(const Digest32& left, const Digest32& right);
// Root over leaf hashes (not leaf data).
Digest32 merkle_root(std::span<const Digest32> leaves);

// A growing tree that keeps one hash a level: add leaves, ask for the root at
// any time.
class MerkleTree {
public:
    void add(ByteSpan data) { add_leaf_hash(merkle_leaf(data)); }
    void add_leaf_hash(const Digest32& leaf);
    std::uint64_t size() const { return size_; }
    Digest32 root() const;

private:
    std::uint64_t size_ = 0;
    std::vector<Digest32> peaks_;  // roots of the full subtrees, largest first
};

// PATH(index, D[n]); the caller has index < leaves.size().
std::vector<Digest32> merkle_inclusion_proof(std::span<const Digest32> leaves, std::uint64_t index);
// PROOF(old_size, D[n]); 0 < old_size <= leaves.size().
std::vector<Digest32> merkle_consistency_proof(std::span<const Digest32> leaves, std::uint64_t old_size);

// kIntegrity when the proof does not show that `leaf` is number `index` of the
// tree.
Status merkle_verify_inclusion(const Digest32& leaf, std::uint64_t index, std::uint64_t size,
                               std::span<const Digest32> proof, const Digest32& root);
// kIntegrity when the proof does not show that the new tree extends the old
// one. An old size of 0 is consistent with everything and has an empty proof.
Status merkle_verify_consistency(std::uint64_t old_size, const Digest32& old_root, std::uint64_t new_size,
                                 const Digest32& new_root, std::span<const Digest32> proof);

}  // namespace ostal::security
