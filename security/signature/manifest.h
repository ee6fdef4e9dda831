// Signed metadata: TUF 1.0 (theupdateframework.github.io/specification, "File formats"), in a strict profile.
//
// Profile, beyond the specification:
//  - at most 4 MiB, depth 16, no duplicate keys, valid UTF-8, integers only;
//  - a member this header does not name is critical and refused, unless its name starts with "x-";
//  - all keys are Ed25519; a key id is the SHA-256 of the OLPC canonical JSON of {keytype, keyval, scheme},
//  which
//    is also what people compare as the key's fingerprint;
//  - length and sha256 are required wherever the specification makes them optional; consistent snapshots
//  only;
//  - every target is a file of one model version and carries `custom` with exactly the members of
//  TargetCustom.
// A signature covers the OLPC canonical JSON of the parsed `signed` member: what is verified is what is used.
//
// Errors of all parsers: kIntegrity with the reason "malformed", "too_large", or "unsupported" (unknown
// members, kinds and specification versions; nobody has checked a signature yet, so these are no better than
// damage). Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/result.h"
#include "security/signature/names.h"

namespace ostal::security {

inline constexpr std::size_t kMaxMetadataBytes = 4U << 20;
inline constexpr std::size_t kMaxMetadataDepth = 16;
inline constexpr std::string_view kSpecVersion = "1.0.31";  // what we write; 1.0 and 1.0.* are read

using PublicKeyBytes = std::array<std::uint8_t, 32>;
// 64 lower-case hex digits.
using KeyId = std::string;
KeyId key_id_of(const PublicKeyBytes& key);

enum class MetadataRole { kRoot, kTimestamp, kSnapshot, kTargets };
inline constexpr std::array<MetadataRole, 4> kMetadataRoles = {
    MetadataRole::kRoot, MetadataRole::kTimestamp, MetadataRole::kSnapshot, MetadataRole::kTargets};
std::string_view metadata_role_name(MetadataRole role);
Result<MetadataRole> metadata_role_from_name(std::string_view name);

struct RoleSignature {
    KeyId key_id;
    std::array<std::uint8_t, 64> bytes{};
};

// What every role's file has.
struct Metadata {
    MetadataRole role = MetadataRole::kRoot;
    std::uint64_t version = 0;
    std::int64_t expires_us = 0;
    std::string canonical;  // OLPC canonical JSON of `signed`
    std::vector<RoleSignature> signatures;
};

struct RoleKeys {
    std::uint32_t threshold = 1;
    std::vector<KeyId> key_ids;  // distinct, each in Root::keys
};

struct Root {
    Metadata metadata;
    std::map<KeyId, PublicKeyBytes> keys;
    std::array<RoleKeys, 4> roles;  // by MetadataRole

    const RoleKeys& keys_of(MetadataRole role) const { return roles[static_cast<std::size_t>(role)]; }
};

// What one role says of the next one's file.
struct FilePin {
    std::uint64_t version = 0;
    std::uint64_t length = 0;
    std::string sha256;  // hex
};
struct Timestamp {
    Metadata metadata;
    FilePin snapshot;
};
struct Snapshot {
    Metadata metadata;
    FilePin targets;
};

// Layouts name what reads the file; they follow from its name (layout_of).
struct TargetCustom {
    std::string kind;            // "model"
    std::string model;           // as in the path
    std::uint64_t version = 0;   // as in the path
    std::string layout;          // "safetensors", "gguf", "json", "sentencepiece", "tekken" or "text"
    std::string format;          // instruct format: one of kInstructFormats
    std::string default_system;  // may be empty
    std::string license;         // SPDX expression, may be empty
    std::string chunk_root;      // hex: RFC 6962 root over 1 MiB plaintext leaves
};
inline constexpr std::array<std::string_view, 10> kInstructFormats = {
    "v1", "v2", "v3", "v3-tekken", "v7", "v7-tekken", "v11-tekken", "v13-tekken", "v15-tekken", "chatml"};
bool is_instruct_format(std::string_view name);
// The layout a file of this name has, or "" when models have no such files. The allow list:
//   *.safetensors  *.gguf  tekken.json  *.json  tokenizer.model*  *.txt  README*  NOTICE*  LICENSE*
// the last three with no suffix, .md or .txt; none ends with .part and three digits (names of pieces on a
// medium). Nothing else is ever signed or imported.
std::string_view layout_of(std::string_view file_name);

struct Target {
    TargetPath path;
    std::uint64_t length = 0;
    std::string sha256;  // hex
    TargetCustom custom;
    json::Value object;  // as signed, with any "x-" members
};
// SHA-256 of the OLPC canonical JSON of {path: target object}: what a sealed file's header is bound to.
std::string target_digest_hex(const Target& target);

struct Targets {
    Metadata metadata;
    std::vector<Target> targets;  // sorted by path
};

// All files of one version of one model.
struct ModelManifest {
    std::string model;
    std::uint64_t version = 0;
    std::string format;
    std::string default_system;
    std::string license;
    std::vector<Target> files;  // sorted by name

    std::uint64_t total_bytes() const;
    // SHA-256 over the OLPC canonical JSON of {path: target object, ...}: what people approve.
    std::string digest_hex() const;
};
// Groups targets by version, sorted by model, then version. The parser has checked that they agree.
std::vector<ModelManifest> manifests_of(const Targets& targets);

Result<Root> parse_root(ByteSpan bytes);
Result<Timestamp> parse_timestamp(ByteSpan bytes);
Result<Snapshot> parse_snapshot(ByteSpan bytes);
Result<Targets> parse_targets(ByteSpan bytes);
// The signatures and the head alone, of any role's file (for tools that add a signature).
Result<Metadata> parse_metadata_head(ByteSpan bytes);

// "2027-12-31T00:00:00Z" as microseconds UTC, and back (whole seconds). kInvalidArgument for any other form.
Result<std::int64_t> parse_utc(std::string_view text);
std::string format_utc(std::int64_t wall_us);

}  // namespace ostal::security
