#include "appliance/cli/ostal_bundle/repository.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

namespace ostal::bundle {
namespace {

using security::Metadata;
using Role = security::MetadataRole;
using security::Root;

constexpr std::string_view kSuffix = ".json";

tl::unexpected<Error> malformed(std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because("malformed"));
}

// "12.root.json" of the role root: 12.
std::optional<std::uint64_t> version_in_name(const std::string& name, Role role) {
    const std::string end = "." + std::string(metadata_role_name(role)) + std::string(kSuffix);
    if (!name.ends_with(end)) return std::nullopt;
    return security::parse_version(std::string_view(name).substr(0, name.size() - end.size()));
}

// The only file of a role; nothing when there is none.
Result<std::optional<Bytes>> only_file(Files& files, const std::string& folder,
                                       const std::vector<std::string>& names, Role role) {
    std::optional<Bytes> found;
    for (const std::string& name : names) {
        if (!version_in_name(name, role)) continue;
        if (found) return malformed(folder + " holds two files of " + std::string(metadata_role_name(role)));
        OSTAL_TRY(found, read_file(files, join_path(folder, name), security::kMaxMetadataBytes));
    }
    return found;
}

std::uint32_t count_valid(const Root& root, Role role, const Metadata& metadata) {
    std::set<security::PublicKeyBytes> valid;
    const auto& ids = root.keys_of(role).key_ids;
    for (const security::RoleSignature& signature : metadata.signatures) {
        if (std::find(ids.begin(), ids.end(), signature.key_id) == ids.end()) continue;
        const security::PublicKeyBytes& key = root.keys.at(signature.key_id);
        if (security::ed25519_verify(key, as_bytes(metadata.canonical), signature.bytes)) valid.insert(key);
    }
    return static_cast<std::uint32_t>(valid.size());
}

bool holds(const Root& root, Role role, const security::Ed25519PrivateKey& key) {
    const auto& ids = root.keys_of(role).key_ids;
    return std::find(ids.begin(), ids.end(), security::key_id_of(key.public_key())) != ids.end();
}

Keys holders(const Root& root, Role role, const Keys& keys) {
    Keys out;
    std::copy_if(keys.begin(), keys.end(), std::back_inserter(out),
                 [&](const auto* key) { return holds(root, role, *key); });
    return out;
}

bool is_pin_of(const security::FilePin& pin, ByteSpan file) {
    const auto fresh = security::pin_of(pin.version, file);
    return pin.length == fresh.length && pin.sha256 == fresh.sha256;
}

Status sign_file(Bytes& file, const Keys& keys) {
    for (const auto* key : keys) {
        OSTAL_TRY(file, security::add_signature(file, *key));
    }
    return {};
}

security::MetadataHead head_of(const Metadata& metadata) { return {metadata.version, metadata.expires_us}; }

// The file that lists `pinned`: signed again where it holds, made anew where it does not and a key may.
template <typename Parse, typename Pin, typename Body>
Status sign_list(const Root& root, Role role, Bytes& file, const Bytes& pinned, const Keys& keys, Parse parse,
                 Pin pin, Body body) {
    OSTAL_TRY(const auto parsed, parse(file));
    const Keys mine = holders(root, role, keys);
    if (is_pin_of(pin(parsed), pinned)) return sign_file(file, mine);
    if (mine.empty()) return {};
    OSTAL_TRY(const Metadata listed, security::parse_metadata_head(pinned));
    file = security::sign_metadata(body(head_of(parsed.metadata), security::pin_of(listed.version, pinned)),
                                   mine);
    return {};
}

Status put(Files& files, const std::string& folder, Role role, const Bytes& content,
           std::set<std::string>& kept) {
    OSTAL_TRY(const Metadata head, security::parse_metadata_head(content));
    const std::string name = security::metadata_file_name(role, head.version);
    kept.insert(name);
    return replace_file(files, join_path(folder, name), content);
}

}  // namespace

Result<Repository> read_repository(Files& files, const std::string& folder) {
    Repository out;
    out.folder = folder;
    const std::string metadata = join_path(folder, "metadata");
    const auto names = files.list_directory(metadata);
    if (!names) {
        if (names.error().code() == Code::kNotFound) return out;
        return fail(names.error());
    }
    for (;;) {
        const std::string name = security::metadata_file_name(Role::kRoot, out.roots.size() + 1);
        if (std::find(names->begin(), names->end(), name) == names->end()) break;
        OSTAL_TRY(Bytes root, read_file(files, join_path(metadata, name), security::kMaxMetadataBytes));
        out.roots.push_back(std::move(root));
    }
    OSTAL_TRY(out.targets, only_file(files, metadata, *names, Role::kTargets));
    OSTAL_TRY(out.snapshot, only_file(files, metadata, *names, Role::kSnapshot));
    if (std::find(names->begin(), names->end(), "timestamp.json") != names->end()) {
        OSTAL_TRY(out.timestamp,
                  read_file(files, join_path(metadata, "timestamp.json"), security::kMaxMetadataBytes));
    }
    return out;
}

Result<Root> newest_root(const Repository& repository) {
    if (repository.roots.empty()) return malformed(repository.folder + " has no metadata/1.root.json");
    return security::parse_root(repository.roots.back());
}

Status add_roots(Repository& repository, const std::vector<Bytes>& roots) {
    std::map<std::uint64_t, std::pair<Root, Bytes>> by_version;
    for (const Bytes& bytes : roots) {
        OSTAL_TRY(Root root, security::parse_root(bytes));
        const std::uint64_t version = root.metadata.version;
        by_version.emplace(version, std::pair{std::move(root), bytes});
    }
    for (const auto& [version, entry] : by_version) {
        const auto& [root, bytes] = entry;
        if (version <= repository.roots.size()) {
            OSTAL_TRY(const Root held, security::parse_root(repository.roots[version - 1]));
            if (held.metadata.canonical == root.metadata.canonical) continue;
            return fail(Code::kConflict,
                        repository.folder + " has another root version " + std::to_string(version));
        }
        if (version != repository.roots.size() + 1) {
            return fail(Code::kInvalidArgument, "root version " +
                                                    std::to_string(repository.roots.size() + 1) +
                                                    " is missing: give every root from 1");
        }
        if (version == 1) {
            OSTAL_TRYV(security::check_signatures(root, Role::kRoot, root.metadata));
        } else {
            OSTAL_TRY(const Root before, newest_root(repository));
            OSTAL_TRYV(security::check_root_step(before, root));
        }
        repository.roots.push_back(bytes);
    }
    return {};
}

Result<std::vector<RoleState>> role_states(const Repository& repository) {
    OSTAL_TRY(const Root root, newest_root(repository));
    std::vector<RoleState> out;
    const auto add = [&](const Metadata& metadata, bool is_stale) {
        out.push_back({metadata.role, metadata.version, count_valid(root, metadata.role, metadata),
                       root.keys_of(metadata.role).threshold, is_stale});
    };
    add(root.metadata, false);
    if (repository.targets) {
        OSTAL_TRY(const Metadata targets, security::parse_metadata_head(*repository.targets));
        add(targets, false);
    }
    if (repository.snapshot) {
        OSTAL_TRY(const auto snapshot, security::parse_snapshot(*repository.snapshot));
        add(snapshot.metadata, !repository.targets || !is_pin_of(snapshot.targets, *repository.targets));
    }
    if (repository.timestamp) {
        OSTAL_TRY(const auto timestamp, security::parse_timestamp(*repository.timestamp));
        add(timestamp.metadata, !repository.snapshot || !is_pin_of(timestamp.snapshot, *repository.snapshot));
    }
    return out;
}

Status make_release(Repository& repository, const std::vector<security::Target>& targets,
                    const Release& release, const Keys& keys) {
    OSTAL_TRY(const Root root, newest_root(repository));
    const auto sign = [&](Role role, const json::Value& body) {
        return security::sign_metadata(body, holders(root, role, keys));
    };
    repository.targets = sign(Role::kTargets, security::targets_body(release.targets, targets));
    repository.snapshot = sign(
        Role::kSnapshot, security::snapshot_body(release.snapshot, security::pin_of(release.targets.version,
                                                                                    *repository.targets)));
    repository.timestamp =
        sign(Role::kTimestamp,
             security::timestamp_body(release.timestamp,
                                      security::pin_of(release.snapshot.version, *repository.snapshot)));
    // What a client would refuse is refused here first.
    OSTAL_TRYV(security::parse_targets(*repository.targets));
    return {};
}

Status add_signatures(Repository& repository, const Keys& keys) {
    OSTAL_TRY(const Root root, newest_root(repository));
    Keys root_keys = holders(root, Role::kRoot, keys);
    if (repository.roots.size() > 1) {  // a new root is signed by those of the one before, too
        OSTAL_TRY(const Root before, security::parse_root(repository.roots[repository.roots.size() - 2]));
        for (const auto* key : holders(before, Role::kRoot, keys)) root_keys.push_back(key);
    }
    OSTAL_TRYV(sign_file(repository.roots.back(), root_keys));
    if (!repository.targets || !repository.snapshot || !repository.timestamp) return {};
    OSTAL_TRYV(sign_file(*repository.targets, holders(root, Role::kTargets, keys)));
    OSTAL_TRYV(sign_list(
        root, Role::kSnapshot, *repository.snapshot, *repository.targets, keys, security::parse_snapshot,
        [](const security::Snapshot& snapshot) { return snapshot.targets; }, security::snapshot_body));
    return sign_list(
        root, Role::kTimestamp, *repository.timestamp, *repository.snapshot, keys, security::parse_timestamp,
        [](const security::Timestamp& timestamp) { return timestamp.snapshot; }, security::timestamp_body);
}

Status write_repository(Files& files, const Repository& repository) {
    const std::string folder = join_path(repository.folder, "metadata");
    OSTAL_TRYV(make_directories(files, folder));
    std::set<std::string> kept;
    for (const Bytes& root : repository.roots) OSTAL_TRYV(put(files, folder, Role::kRoot, root, kept));
    if (repository.targets) OSTAL_TRYV(put(files, folder, Role::kTargets, *repository.targets, kept));
    if (repository.snapshot) OSTAL_TRYV(put(files, folder, Role::kSnapshot, *repository.snapshot, kept));
    if (repository.timestamp) OSTAL_TRYV(put(files, folder, Role::kTimestamp, *repository.timestamp, kept));
    OSTAL_TRY(const auto names, files.list_directory(folder));
    for (const std::string& name : names) {
        const bool is_metadata =
            version_in_name(name, Role::kTargets) || version_in_name(name, Role::kSnapshot);
        if (is_metadata && !kept.contains(name)) OSTAL_TRYV(files.remove_file(join_path(folder, name)));
    }
    OSTAL_TRYV(files.sync_directory(folder));
    return make_readable(repository.folder);
}

Status make_readable(const std::string& path) {
    namespace fs = std::filesystem;
    constexpr auto kFile =
        fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read | fs::perms::others_read;
    constexpr auto kFolder = kFile | fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec;
    std::error_code ec;
    const auto open_up = [&](const fs::path& one) {
        fs::permissions(one, fs::is_directory(one, ec) ? kFolder : kFile, ec);
    };
    open_up(path);
    if (!ec && fs::is_directory(path, ec)) {
        for (fs::recursive_directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec))
            open_up(it->path());
    }
    if (ec) return fail(Code::kIo, "cannot make " + path + " readable: " + ec.message());
    return {};
}

}  // namespace ostal::bundle
