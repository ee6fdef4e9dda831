// For tests: a small repository in memory, whose every part a test may replace before it is signed.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "security/crypto/hash.h"
#include "security/signature/signer.h"
#include "security/signature/verifier.h"

namespace ostal::security {

struct TestRepository {
    static constexpr std::int64_t kNow = 1'800'000'000'000'000;
    static constexpr std::int64_t kYear = 365LL * 86'400 * 1'000'000;

    SeededRandom random{7};
    std::vector<Ed25519PrivateKey> keys;
    std::array<std::vector<std::size_t>, 4> holders;  // indices into keys, by MetadataRole
    std::array<std::uint32_t, 4> thresholds{1, 1, 1, 1};
    std::array<std::vector<std::size_t>, 4> signers;  // who signs, by MetadataRole
    std::array<std::uint64_t, 4> versions{1, 1, 1, 1};
    std::array<std::int64_t, 4> expires{kNow + kYear, kNow + kYear, kNow + kYear, kNow + kYear};
    std::vector<Target> targets;
    MetadataFiles files;

    explicit TestRepository(std::size_t key_count = 1) {
        for (std::size_t i = 0; i < key_count; ++i) keys.push_back(Ed25519PrivateKey::generate(random));
        for (std::size_t role = 0; role < 4; ++role) {
            holders[role] = {0};
            signers[role] = {0};
        }
        targets.push_back(target("demo", 1, "config.json", "{}"));
        targets.push_back(target("demo", 1, "model.safetensors", "weights"));
    }

    static TargetCustom custom(const std::string& model, std::uint64_t version, const std::string& file,
                               std::string_view content) {
        TargetCustom out;
        out.kind = "model";
        out.model = model;
        out.version = version;
        out.layout = layout_of(file);
        out.format = "v3";
        out.default_system = "Be \"brief\".\nBe kind.";
        out.license = "Apache-2.0";
        out.chunk_root = to_hex(sha256(as_bytes("root of " + std::string(content))));
        return out;
    }
    static Target target(const std::string& model, std::uint64_t version, const std::string& file,
                         std::string_view content) {
        return make_target({model, version, file}, content.size(), to_hex(sha256(as_bytes(content))),
                           custom(model, version, file, content));
    }

    std::vector<const Ed25519PrivateKey*> keys_at(const std::vector<std::size_t>& indices) const {
        std::vector<const Ed25519PrivateKey*> out;
        for (const std::size_t index : indices) out.push_back(&keys[index]);
        return out;
    }
    std::uint64_t version(MetadataRole role) const { return versions[static_cast<std::size_t>(role)]; }
    MetadataHead head(MetadataRole role) const {
        return {version(role), expires[static_cast<std::size_t>(role)]};
    }
    Bytes sign(MetadataRole role, const json::Value& body) const {
        return sign_metadata(body, keys_at(signers[static_cast<std::size_t>(role)]));
    }

    json::Value root_document() const {
        std::array<RoleAssignment, 4> roles;
        for (std::size_t role = 0; role < 4; ++role) {
            roles[role].threshold = thresholds[role];
            for (const std::size_t index : holders[role])
                roles[role].keys.push_back(keys[index].public_key());
        }
        return root_body(head(MetadataRole::kRoot), roles);
    }
    Bytes make_root() const { return sign(MetadataRole::kRoot, root_document()); }
    // Signs the next root and adds it; the caller has changed holders, signers or thresholds before.
    void add_root() {
        files[metadata_file_name(MetadataRole::kRoot, version(MetadataRole::kRoot))] = make_root();
    }
    void next_root() {
        ++versions[0];
        add_root();
    }
    // Everything below root, replacing what was there.
    void publish(const json::Value& targets_document) {
        std::erase_if(files, [](const auto& entry) { return !entry.first.ends_with("root.json"); });
        const Bytes targets_file = sign(MetadataRole::kTargets, targets_document);
        const Bytes snapshot_file = sign(
            MetadataRole::kSnapshot, snapshot_body(head(MetadataRole::kSnapshot),
                                                   pin_of(version(MetadataRole::kTargets), targets_file)));
        files[metadata_file_name(MetadataRole::kTargets, version(MetadataRole::kTargets))] = targets_file;
        files[metadata_file_name(MetadataRole::kSnapshot, version(MetadataRole::kSnapshot))] = snapshot_file;
        files["timestamp.json"] =
            sign(MetadataRole::kTimestamp,
                 timestamp_body(head(MetadataRole::kTimestamp),
                                pin_of(version(MetadataRole::kSnapshot), snapshot_file)));
    }
    void publish() { publish(targets_body(head(MetadataRole::kTargets), targets)); }
    void all() {
        add_root();
        publish();
    }
    Root root(std::uint64_t version_number = 1) const {
        return *parse_root(files.at(metadata_file_name(MetadataRole::kRoot, version_number)));
    }
    Result<VerifiedRepository> verify(const SeenVersions& seen = {}, std::uint64_t trusted = 1) const {
        return verify_repository(root(trusted), seen, files, kNow);
    }
};

}  // namespace ostal::security
