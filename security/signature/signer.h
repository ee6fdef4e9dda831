// Making signed metadata: the writing side of manifest.h, for `ostal-bundle` and tests.
//
// Files are compact JSON without a final newline, so that every byte of them is either signed or a signature.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "security/crypto/ed25519.h"
#include "security/signature/manifest.h"

namespace ostal::security {

struct MetadataHead {
    std::uint64_t version = 1;
    std::int64_t expires_us = 0;
};

struct RoleAssignment {
    std::vector<Ed25519PublicKey> keys;
    std::uint32_t threshold = 1;
};

// The `signed` member of each role.
json::Value root_body(const MetadataHead& head,
                      const std::array<RoleAssignment, 4>& roles);  // by MetadataRole
json::Value timestamp_body(const MetadataHead& head, const FilePin& snapshot);
json::Value snapshot_body(const MetadataHead& head, const FilePin& targets);
json::Value targets_body(const MetadataHead& head, const std::vector<Target>& targets);

// Fills Target::object from the other members.
Target make_target(const TargetPath& path, std::uint64_t length, const std::string& sha256,
                   const TargetCustom& custom);
FilePin pin_of(std::uint64_t version, ByteSpan file);

// A whole file, with one signature by each key.
Bytes sign_metadata(const json::Value& body, std::span<const Ed25519PrivateKey* const> keys);
// The file with a signature by `key` added (or renewed). kIntegrity when it is no metadata.
Result<Bytes> add_signature(ByteSpan file, const Ed25519PrivateKey& key);

}  // namespace ostal::security
