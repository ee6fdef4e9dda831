#include "security/crypto/merkle.h"

#include <bit>

#include "base/check.h"

namespace ostal::security {
namespace {

// The largest power of two below n; n > 1.
std::uint64_t split(std::uint64_t n) { return std::bit_floor(n - 1); }

// SUBPROOF(m, D[n], whole) of RFC 6962 section 2.1.2.
void append_subproof(std::vector<Digest32>& proof, std::span<const Digest32> leaves, std::uint64_t old_size,
                     bool whole) {
    if (old_size == leaves.size()) {
        if (!whole) proof.push_back(merkle_root(leaves));
        return;
    }
    const std::uint64_t k = split(leaves.size());
    if (old_size <= k) {
        append_subproof(proof, leaves.first(k), old_size, whole);
        proof.push_back(merkle_root(leaves.subspan(k)));
    } else {
        append_subproof(proof, leaves.subspan(k), old_size - k, false);
        proof.push_back(merkle_root(leaves.first(k)));
    }
}

Status bad_proof() { return fail(Code::kIntegrity, "the Merkle proof does not hold"); }

}  // namespace

Digest32 merkle_leaf(ByteSpan data) {
    static constexpr std::uint8_t kPrefix = 0x00;
    Sha256 hash;
    hash.update({&kPrefix, 1});
    hash.update(data);
    return hash.finish();
}

Digest32 merkle_node(const Digest32& left, const Digest32& right) {
    std::array<std::uint8_t, 65> message;
    message[0] = 0x01;
    std::copy(left.begin(), left.end(), message.begin() + 1);
    std::copy(right.begin(), right.end(), message.begin() + 33);
    return sha256(message);
}

Digest32 merkle_root(std::span<const Digest32> leaves) {
    MerkleTree tree;
    for (const Digest32& leaf : leaves) tree.add_leaf_hash(leaf);
    return tree.root();
}

void MerkleTree::add_leaf_hash(const Digest32& leaf) {
    Digest32 hash = leaf;
    for (std::uint64_t full = size_; (full & 1) != 0; full >>= 1) {
        hash = merkle_node(peaks_.back(), hash);
        peaks_.pop_back();
    }
    peaks_.push_back(hash);
    ++size_;
}

Digest32 MerkleTree::root() const {
    if (peaks_.empty()) return sha256({});
    Digest32 hash = peaks_.back();
    for (std::size_t i = peaks_.size() - 1; i > 0; --i) hash = merkle_node(peaks_[i - 1], hash);
    return hash;
}

std::vector<Digest32> merkle_inclusion_proof(std::span<const Digest32> leaves, std::uint64_t index) {
    CHECK_LT(index, leaves.size());
    std::vector<Digest32> path;
    while (leaves.size() > 1) {
        const std::uint64_t k = split(leaves.size());
        if (index < k) {
            path.push_back(merkle_root(leaves.subspan(k)));
            leaves = leaves.first(k);
        } else {
            path.push_back(merkle_root(leaves.first(k)));
            leaves = leaves.subspan(k);
            index -= k;
        }
    }
    return {path.rbegin(), path.rend()};  // the proof runs from the leaf to the root
}

std::vector<Digest32> merkle_consistency_proof(std::span<const Digest32> leaves, std::uint64_t old_size) {
    CHECK_GT(old_size, 0U);
    CHECK_LE(old_size, leaves.size());
    std::vector<Digest32> proof;
    append_subproof(proof, leaves, old_size, true);
    return proof;
}

// RFC 9162 section 2.1.3.2.
Status merkle_verify_inclusion(const Digest32& leaf, std::uint64_t index, std::uint64_t size,
                               std::span<const Digest32> proof, const Digest32& root) {
    if (index >= size) return bad_proof();
    std::uint64_t node = index;
    std::uint64_t last = size - 1;
    Digest32 hash = leaf;
    for (const Digest32& sibling : proof) {
        if (last == 0) return bad_proof();
        if ((node & 1) != 0 || node == last) {
            hash = merkle_node(sibling, hash);
            while ((node & 1) == 0 && node != 0) {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = merkle_node(hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if (last != 0 || hash != root) return bad_proof();
    return {};
}

// RFC 9162 section 2.1.4.2.
Status merkle_verify_consistency(std::uint64_t old_size, const Digest32& old_root, std::uint64_t new_size,
                                 const Digest32& new_root, std::span<const Digest32> proof) {
    if (old_size > new_size) return bad_proof();
    if (old_size == 0) {
        if (!proof.empty() || old_root != sha256({})) return bad_proof();
        return {};
    }
    if (old_size == new_size) {
        if (!proof.empty() || old_root != new_root) return bad_proof();
        return {};
    }
    std::uint64_t node = old_size - 1;
    std::uint64_t last = new_size - 1;
    while ((node & 1) != 0) {
        node >>= 1;
        last >>= 1;
    }
    // An old tree of a power of two is itself the first node, which the proof leaves out.
    std::size_t next = 0;
    Digest32 old_hash = old_root;
    if (!std::has_single_bit(old_size)) {
        if (proof.empty()) return bad_proof();
        old_hash = proof[next++];
    }
    Digest32 new_hash = old_hash;
    for (; next < proof.size(); ++next) {
        if (last == 0) return bad_proof();
        if ((node & 1) != 0 || node == last) {
            old_hash = merkle_node(proof[next], old_hash);
            new_hash = merkle_node(proof[next], new_hash);
            while ((node & 1) == 0 && node != 0) {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = merkle_node(new_hash, proof[next]);
        }
        node >>= 1;
        last >>= 1;
    }
    if (last != 0 || old_hash != old_root || new_hash != new_root) return bad_proof();
    return {};
}

}  // namespace ostal::security
