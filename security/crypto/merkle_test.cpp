#include "security/crypto/merkle.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace ostal::security {
namespace {

std::string hex(const Digest32& digest) { return to_hex(digest); }

// The eight leaves and nine roots of the Certificate Transparency reference tests (RFC 6962 trees).
const std::vector<std::string> kLeafHex = {
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
const std::vector<std::string> kRootHex = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

std::vector<Digest32> some_leaves(std::size_t count) {
    std::vector<Digest32> leaves;
    for (std::size_t i = 0; i < count; ++i)
        leaves.push_back(merkle_leaf(as_bytes("leaf " + std::to_string(i))));
    return leaves;
}

TEST(Merkle, KnownRoots) {
    MerkleTree tree;
    std::vector<Digest32> leaves;
    EXPECT_EQ(hex(tree.root()), kRootHex[0]);
    for (std::size_t i = 0; i < kLeafHex.size(); ++i) {
        const Bytes data = from_hex(kLeafHex[i]).value();
        tree.add(data);
        leaves.push_back(merkle_leaf(data));
        EXPECT_EQ(hex(tree.root()), kRootHex[i + 1]);
        EXPECT_EQ(hex(merkle_root(leaves)), kRootHex[i + 1]);
        EXPECT_EQ(tree.size(), i + 1);
    }
}

TEST(Merkle, InclusionHoldsForEveryLeafOfEverySizeAndForNothingElse) {
    const auto leaves = some_leaves(33);
    for (std::size_t size = 1; size <= leaves.size(); ++size) {
        const auto tree = std::span(leaves).first(size);
        const Digest32 root = merkle_root(tree);
        for (std::size_t index = 0; index < size; ++index) {
            const auto proof = merkle_inclusion_proof(tree, index);
            ASSERT_TRUE(merkle_verify_inclusion(leaves[index], index, size, proof, root))
                << index << "/" << size;
            for (std::size_t other = 0; other <= size; ++other) {
                if (other == index) continue;
                EXPECT_FALSE(merkle_verify_inclusion(leaves[index], other, size, proof, root));
            }
            auto longer = proof;
            longer.push_back(root);
            EXPECT_FALSE(merkle_verify_inclusion(leaves[index], index, size, longer, root));
            for (std::size_t i = 0; i < proof.size(); ++i) {
                auto altered = proof;
                altered[i][7] ^= 1;
                EXPECT_FALSE(merkle_verify_inclusion(leaves[index], index, size, altered, root));
            }
            if (!proof.empty()) {
                const auto shorter = std::span(proof).first(proof.size() - 1);
                EXPECT_FALSE(merkle_verify_inclusion(leaves[index], index, size, shorter, root));
            }
        }
    }
}

TEST(Merkle, ConsistencyHoldsForEveryPairAndForNothingElse) {
    const auto leaves = some_leaves(33);
    for (std::size_t size = 1; size <= leaves.size(); ++size) {
        const auto tree = std::span(leaves).first(size);
        const Digest32 root = merkle_root(tree);
        for (std::size_t old_size = 1; old_size <= size; ++old_size) {
            const Digest32 old_root = merkle_root(tree.first(old_size));
            const auto proof = merkle_consistency_proof(tree, old_size);
            ASSERT_TRUE(merkle_verify_consistency(old_size, old_root, size, root, proof))
                << old_size << "/" << size;
            Digest32 wrong = old_root;
            wrong[0] ^= 1;
            EXPECT_FALSE(merkle_verify_consistency(old_size, wrong, size, root, proof));
            wrong = root;
            wrong[31] ^= 1;
            EXPECT_FALSE(merkle_verify_consistency(old_size, old_root, size, wrong, proof));
            for (std::size_t i = 0; i < proof.size(); ++i) {
                auto altered = proof;
                altered[i][0] ^= 1;
                EXPECT_FALSE(merkle_verify_consistency(old_size, old_root, size, root, altered));
            }
            if (!proof.empty()) {
                const auto shorter = std::span(proof).first(proof.size() - 1);
                EXPECT_FALSE(merkle_verify_consistency(old_size, old_root, size, root, shorter));
            }
            auto longer = proof;
            longer.push_back(root);
            EXPECT_FALSE(merkle_verify_consistency(old_size, old_root, size, root, longer));
        }
    }
}

TEST(Merkle, EdgesOfConsistency) {
    const auto leaves = some_leaves(3);
    const Digest32 root = merkle_root(leaves);
    const Digest32 empty = merkle_root({});
    EXPECT_TRUE(merkle_verify_consistency(0, empty, 3, root, {}));
    EXPECT_FALSE(merkle_verify_consistency(0, root, 3, root, {}));
    EXPECT_FALSE(merkle_verify_consistency(4, root, 3, root, {}));
    EXPECT_FALSE(merkle_verify_inclusion(leaves[0], 0, 0, {}, empty));
}

}  // namespace
}  // namespace ostal::security
