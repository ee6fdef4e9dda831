#include "security/signature/verifier.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "security/crypto/ed25519.h"
#include "security/crypto/hash.h"

namespace ostal::security {
namespace {

tl::unexpected<Error> refuse(std::string reason, std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because(std::move(reason)));
}

std::string describe(const Metadata& metadata) {
    return std::string(metadata_role_name(metadata.role)) + " metadata version " +
           std::to_string(metadata.version);
}

template <typename Ids>
std::string join(const Ids& ids) {
    std::string out;
    for (const auto& id : ids) out += (out.empty() ? "" : ", ") + std::string(id);
    return out.empty() ? "nobody" : out;
}

std::string digest_of(const Metadata& metadata) { return to_hex(sha256(as_bytes(metadata.canonical))); }

Result<const Bytes*> file_named(const MetadataFiles& files, const std::string& name) {
    const auto found = files.find(name);
    if (found == files.end()) return refuse("missing", "the file metadata/" + name + " is missing");
    return &found->second;
}

Status check_expiry(const Metadata& metadata, std::int64_t now_us) {
    if (now_us < metadata.expires_us) return {};
    return refuse("expired", describe(metadata) + " expired at " + format_utc(metadata.expires_us) +
                                 ", it is now " + format_utc(now_us) + ": ask the signer for newer metadata");
}

// Not older than what was seen, and the same number means the same content.
Status check_seen(const Metadata& metadata, const SeenRole& seen) {
    if (metadata.version < seen.version) {
        return refuse("metadata_rollback", describe(metadata) + " is older than version " +
                                               std::to_string(seen.version) + ", which was seen before");
    }
    if (metadata.version == seen.version && !seen.digest.empty() && seen.digest != digest_of(metadata)) {
        return refuse("metadata_rollback", describe(metadata) +
                                               " differs from the content seen before under the " +
                                               "same number: the signer must raise the version");
    }
    return {};
}

// The file that a pin names, its length and digest checked before anything parses it.
Result<const Bytes*> pinned_file(const MetadataFiles& files, const std::string& name, const FilePin& pin) {
    OSTAL_TRY(const Bytes* bytes, file_named(files, name));
    if (bytes->size() != pin.length || to_hex(sha256(*bytes)) != pin.sha256) {
        return refuse("mismatch", "the file metadata/" + name + " is not the one that was listed");
    }
    return bytes;
}

Status check_pinned_version(const FilePin& pin, const Metadata& metadata) {
    if (metadata.version == pin.version) return {};
    return refuse("mismatch", describe(metadata) + " was listed as version " + std::to_string(pin.version));
}

// Signatures, age and expiry of a role that is not root.
Status check_role(const Root& root, const Metadata& metadata, SeenVersions& seen, std::int64_t now_us) {
    OSTAL_TRYV(check_signatures(root, metadata.role, metadata));
    OSTAL_TRYV(check_seen(metadata, seen.of(metadata.role)));
    OSTAL_TRYV(check_expiry(metadata, now_us));
    seen.of(metadata.role) = SeenRole{metadata.version, digest_of(metadata)};
    return {};
}

bool same_role_keys(const Root& a, const Root& b, MetadataRole role) {
    const auto keys_of = [role](const Root& root) {
        std::set<PublicKeyBytes> keys;
        for (const KeyId& id : root.keys_of(role).key_ids) keys.insert(root.keys.at(id));
        return keys;
    };
    return a.keys_of(role).threshold == b.keys_of(role).threshold && keys_of(a) == keys_of(b);
}

// Parses roots 1, 2, ... as far as there are any, each under its own number.
Result<std::vector<Root>> read_roots(const MetadataFiles& files) {
    std::vector<Root> roots;
    for (;;) {
        const std::string name = metadata_file_name(MetadataRole::kRoot, roots.size() + 1);
        const auto found = files.find(name);
        if (found == files.end()) break;
        auto root = parse_root(found->second);
        if (!root) return fail(std::move(root).error().with("in metadata/" + name));
        if (root->metadata.version != roots.size() + 1) {
            return refuse("mismatch", "metadata/" + name + " says that it is version " +
                                          std::to_string(root->metadata.version));
        }
        roots.push_back(std::move(*root));
    }
    if (roots.empty()) return refuse("missing", "the file metadata/1.root.json is missing");
    return roots;
}

// The whole chain on the medium holds, passes through the trusted root, and does not end before it.
Result<Root> check_root_chain(const Root& trusted, const std::vector<Root>& roots) {
    const std::uint64_t at = trusted.metadata.version;
    if (at > roots.size()) {
        return refuse("metadata_rollback", "the medium ends at root version " + std::to_string(roots.size()) +
                                               ", version " + std::to_string(at) + " is trusted already");
    }
    // Against the trusted root first: a foreign medium is named as such, not as a broken chain.
    if (roots[at - 1].metadata.canonical != trusted.metadata.canonical) {
        auto status = check_signatures(trusted, MetadataRole::kRoot, roots[at - 1].metadata);
        if (!status) return fail(std::move(status).error().with("while checking who signed the medium"));
        return refuse("wrong_root", "root version " + std::to_string(at) +
                                        " on the medium is not the one that is trusted here");
    }
    OSTAL_TRYV(check_signatures(roots[0], MetadataRole::kRoot, roots[0].metadata));
    for (std::size_t i = 1; i < roots.size(); ++i) {
        auto status = check_root_step(roots[i - 1], roots[i]);
        if (!status) {
            return fail(std::move(status).error().with("in metadata/" +
                                                       metadata_file_name(MetadataRole::kRoot, i + 1)));
        }
    }
    return roots.back();
}

Status check_no_extra(const MetadataFiles& files, std::size_t roots, const VerifiedRepository& used) {
    for (const auto& [name, bytes] : files) {
        bool known = name == "timestamp.json" || name == used.snapshot_file || name == used.targets_file;
        for (std::size_t version = 1; !known && version <= roots; ++version) {
            known = name == metadata_file_name(MetadataRole::kRoot, version);
        }
        if (!known) return refuse("extra", "the file metadata/" + name + " does not belong to the medium");
    }
    return {};
}

}  // namespace

SeenRole& SeenVersions::of(MetadataRole role) {
    CHECK(role != MetadataRole::kRoot);
    if (role == MetadataRole::kTimestamp) return timestamp;
    return role == MetadataRole::kSnapshot ? snapshot : targets;
}

std::string metadata_file_name(MetadataRole role, std::uint64_t version) {
    if (role == MetadataRole::kTimestamp) return "timestamp.json";
    return std::to_string(version) + "." + std::string(metadata_role_name(role)) + ".json";
}

Status check_signatures(const Root& root, MetadataRole role, const Metadata& metadata) {
    const RoleKeys& wanted = root.keys_of(role);
    std::set<PublicKeyBytes> valid;
    std::vector<KeyId> wrong;
    std::vector<KeyId> strangers;
    for (const RoleSignature& signature : metadata.signatures) {
        const bool is_of_role =
            std::find(wanted.key_ids.begin(), wanted.key_ids.end(), signature.key_id) != wanted.key_ids.end();
        if (!is_of_role) {
            strangers.push_back(signature.key_id);
            continue;
        }
        const PublicKeyBytes& key = root.keys.at(signature.key_id);
        if (ed25519_verify(key, as_bytes(metadata.canonical), signature.bytes)) {
            valid.insert(key);
        } else {
            wrong.push_back(signature.key_id);
        }
    }
    if (valid.size() >= wanted.threshold) return {};
    if (!wrong.empty()) {
        return refuse("bad_signature", "a signature of " + describe(metadata) + " by the key " + join(wrong) +
                                           " does not fit its content: it was altered after signing");
    }
    if (valid.empty() && !strangers.empty()) {
        return refuse("unknown_key", describe(metadata) + " is signed by the key " + join(strangers) +
                                         ", trusted for it is " + join(wanted.key_ids));
    }
    return refuse("below_threshold", describe(metadata) + " has " + std::to_string(valid.size()) + " of " +
                                         std::to_string(wanted.threshold) + " signatures that are needed");
}

Status check_root_step(const Root& trusted, const Root& next) {
    const std::uint64_t expected = trusted.metadata.version + 1;
    if (next.metadata.version != expected) {
        return refuse("metadata_rollback", "root version " + std::to_string(next.metadata.version) +
                                               " does not follow version " +
                                               std::to_string(trusted.metadata.version));
    }
    OSTAL_TRYV(check_signatures(trusted, MetadataRole::kRoot, next.metadata));
    return check_signatures(next, MetadataRole::kRoot, next.metadata);
}

std::vector<MetadataRole> roles_with_changed_keys(const Root& from, const Root& to) {
    std::vector<MetadataRole> out;
    for (const MetadataRole role : kMetadataRoles) {
        if (!same_role_keys(from, to, role)) out.push_back(role);
    }
    return out;
}

SeenVersions after_root_change(const Root& from, const Root& to, SeenVersions seen) {
    for (const MetadataRole role : roles_with_changed_keys(from, to)) {
        if (role == MetadataRole::kTimestamp || role == MetadataRole::kSnapshot) {
            seen.timestamp = {};
            seen.snapshot = {};
        } else if (role == MetadataRole::kTargets) {
            seen.targets = {};
        }
    }
    return seen;
}

Result<VerifiedRepository> verify_repository(const Root& trusted, const SeenVersions& seen_before,
                                             const MetadataFiles& files, std::int64_t now_us) {
    VerifiedRepository out;
    OSTAL_TRY(const std::vector<Root> roots, read_roots(files));
    OSTAL_TRY(out.root, check_root_chain(trusted, roots));
    out.seen = seen_before;
    for (std::uint64_t version = trusted.metadata.version; version < roots.size(); ++version) {
        out.seen = after_root_change(roots[version - 1], roots[version], out.seen);
        out.new_roots.push_back(metadata_file_name(MetadataRole::kRoot, version + 1));
    }
    OSTAL_TRYV(check_expiry(out.root.metadata, now_us));

    OSTAL_TRY(const Bytes* timestamp_bytes, file_named(files, "timestamp.json"));
    OSTAL_TRY(out.timestamp, parse_timestamp(*timestamp_bytes));
    OSTAL_TRYV(check_role(out.root, out.timestamp.metadata, out.seen, now_us));

    const FilePin& snapshot_pin = out.timestamp.snapshot;
    out.snapshot_file = metadata_file_name(MetadataRole::kSnapshot, snapshot_pin.version);
    OSTAL_TRY(const Bytes* snapshot_bytes, pinned_file(files, out.snapshot_file, snapshot_pin));
    OSTAL_TRY(out.snapshot, parse_snapshot(*snapshot_bytes));
    OSTAL_TRYV(check_pinned_version(snapshot_pin, out.snapshot.metadata));
    OSTAL_TRYV(check_role(out.root, out.snapshot.metadata, out.seen, now_us));

    const FilePin& targets_pin = out.snapshot.targets;
    out.targets_file = metadata_file_name(MetadataRole::kTargets, targets_pin.version);
    OSTAL_TRY(const Bytes* targets_bytes, pinned_file(files, out.targets_file, targets_pin));
    OSTAL_TRY(out.targets, parse_targets(*targets_bytes));
    OSTAL_TRYV(check_pinned_version(targets_pin, out.targets.metadata));
    OSTAL_TRYV(check_role(out.root, out.targets.metadata, out.seen, now_us));

    OSTAL_TRYV(check_no_extra(files, roots.size(), out));
    return out;
}

Result<const AnchorChain*> find_anchor(const std::vector<AnchorChain>& anchors, const MetadataFiles& files) {
    OSTAL_TRY(const std::vector<Root> medium, read_roots(files));
    std::string trusted;
    for (const AnchorChain& anchor : anchors) {
        for (const Root& root : anchor.roots) {
            const std::uint64_t version = root.metadata.version;
            if (version <= medium.size() &&
                medium[version - 1].metadata.canonical == root.metadata.canonical) {
                return &anchor;
            }
        }
        trusted += (trusted.empty() ? "" : "; ") + anchor.name + " " +
                   join(anchor.roots.back().keys_of(MetadataRole::kRoot).key_ids);
    }
    // An altered or foreign root that names our own keys: verify_repository says what is wrong with it.
    for (const AnchorChain& anchor : anchors) {
        const std::vector<KeyId>& ours = anchor.roots.back().keys_of(MetadataRole::kRoot).key_ids;
        for (const KeyId& id : medium.front().keys_of(MetadataRole::kRoot).key_ids) {
            if (std::find(ours.begin(), ours.end(), id) != ours.end()) return &anchor;
        }
    }
    return refuse("unknown_key", "nobody trusted here signed this medium: its root key is " +
                                     join(medium.front().keys_of(MetadataRole::kRoot).key_ids) +
                                     ", trusted is " +
                                     (trusted.empty() ? "nobody (there is no anchor)" : trusted));
}

Result<Targets> recheck_targets(const Root& newest, ByteSpan targets_bytes) {
    OSTAL_TRY(Targets targets, parse_targets(targets_bytes));
    OSTAL_TRYV(check_signatures(newest, MetadataRole::kTargets, targets.metadata));
    return targets;
}

}  // namespace ostal::security
