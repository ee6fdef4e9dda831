#include "security/signature/signer.h"

#include <algorithm>
#include <set>

#include "security/crypto/hash.h"

namespace ostal::security {
namespace {

json::Value number(std::uint64_t value) { return json::Value(value); }

json::Object head_of(MetadataRole role, const MetadataHead& head) {
    return json::Object{{"_type", metadata_role_name(role)},
                        {"expires", format_utc(head.expires_us)},
                        {"spec_version", kSpecVersion},
                        {"version", number(head.version)}};
}

json::Value pinned(MetadataRole role, const MetadataHead& head, std::string_view file, const FilePin& pin) {
    json::Object body = head_of(role, head);
    const json::Object entry = {{"hashes", json::Object{{"sha256", pin.sha256}}},
                                {"length", number(pin.length)},
                                {"version", number(pin.version)}};
    body.append("meta", json::Object{{std::string(file), entry}});
    return body;
}

json::Value signature_of(ByteSpan message, const Ed25519PrivateKey& key) {
    return json::Object{{"keyid", key_id_of(key.public_key())}, {"sig", to_hex(key.sign(message))}};
}

Bytes to_file(json::Array signatures, json::Value body) {
    const json::Object envelope = {{"signatures", std::move(signatures)}, {"signed", std::move(body)}};
    const std::string text = json::to_string(envelope);
    return Bytes(text.begin(), text.end());
}

}  // namespace

json::Value root_body(const MetadataHead& head, const std::array<RoleAssignment, 4>& roles) {
    json::Object keys;
    json::Object role_objects;
    for (const MetadataRole role : kMetadataRoles) {
        const RoleAssignment& assignment = roles[static_cast<std::size_t>(role)];
        json::Array ids;
        for (const Ed25519PublicKey& key : assignment.keys) {
            const KeyId id = key_id_of(key);
            keys.set(id, json::Object{{"keytype", "ed25519"},
                                      {"keyval", json::Object{{"public", to_hex(key)}}},
                                      {"scheme", "ed25519"}});
            ids.emplace_back(id);
        }
        role_objects.append(std::string(metadata_role_name(role)),
                            json::Object{{"keyids", std::move(ids)},
                                         {"threshold", static_cast<std::int64_t>(assignment.threshold)}});
    }
    json::Object body = head_of(MetadataRole::kRoot, head);
    body.append("consistent_snapshot", true);
    body.append("keys", std::move(keys));
    body.append("roles", std::move(role_objects));
    return body;
}

json::Value timestamp_body(const MetadataHead& head, const FilePin& snapshot) {
    return pinned(MetadataRole::kTimestamp, head, "snapshot.json", snapshot);
}

json::Value snapshot_body(const MetadataHead& head, const FilePin& targets) {
    return pinned(MetadataRole::kSnapshot, head, "targets.json", targets);
}

json::Value targets_body(const MetadataHead& head, const std::vector<Target>& targets) {
    json::Object list;
    for (const Target& target : targets) list.append(target.path.to_string(), target.object);
    json::Object body = head_of(MetadataRole::kTargets, head);
    body.append("targets", std::move(list));
    return body;
}

Target make_target(const TargetPath& path, std::uint64_t length, const std::string& sha256,
                   const TargetCustom& custom) {
    const json::Object custom_object = {
        {"chunk_root", custom.chunk_root}, {"default_system", custom.default_system},
        {"format", custom.format},         {"kind", custom.kind},
        {"layout", custom.layout},         {"license", custom.license},
        {"model", custom.model},           {"version", number(custom.version)}};
    Target out{path, length, sha256, custom, {}};
    out.object = json::Object{
        {"custom", custom_object}, {"hashes", json::Object{{"sha256", sha256}}}, {"length", number(length)}};
    return out;
}

FilePin pin_of(std::uint64_t version, ByteSpan file) { return {version, file.size(), to_hex(sha256(file))}; }

Bytes sign_metadata(const json::Value& body, std::span<const Ed25519PrivateKey* const> keys) {
    const std::string canonical = json::to_olpc(body);
    json::Array signatures;
    std::set<Ed25519PublicKey> signed_by;
    for (const Ed25519PrivateKey* key : keys) {
        if (signed_by.insert(key->public_key()).second)
            signatures.push_back(signature_of(as_bytes(canonical), *key));
    }
    return to_file(std::move(signatures), body);
}

Result<Bytes> add_signature(ByteSpan file, const Ed25519PrivateKey& key) {
    OSTAL_TRY(const Metadata head, parse_metadata_head(file));
    json::Limits limits;
    limits.max_depth = kMaxMetadataDepth;
    limits.integers_only = true;
    OSTAL_TRY(const json::Value document, json::parse(as_text(file), limits));
    const KeyId id = key_id_of(key.public_key());
    json::Array signatures;
    for (const RoleSignature& signature : head.signatures) {
        if (signature.key_id == id) continue;
        signatures.push_back(json::Object{{"keyid", signature.key_id}, {"sig", to_hex(signature.bytes)}});
    }
    signatures.push_back(signature_of(as_bytes(head.canonical), key));
    return to_file(std::move(signatures), *document.find("signed"));
}

}  // namespace ostal::security
