// How versions come in, and how they are opened again for a load.
#include <algorithm>

#include "appliance/model_store/content.h"
#include "appliance/model_store/store_state.h"

namespace ostal {
namespace {

using security::MetadataRole;

constexpr std::uint64_t kMaxAdmissionBytes = 16U << 20;

std::string name_of(const security::ModelManifest& manifest) {
    return manifest.model + " version " + std::to_string(manifest.version);
}

struct AdmissionRecord {
    std::string anchor;
    std::string targets;  // the metadata file's text
};

Result<AdmissionRecord> parse_admission(ByteSpan bytes) {
    OSTAL_TRY(const json::Value value, json::parse(as_text(bytes)));
    OSTAL_TRY(const json::Object* object, json::object_at(value, "admission"));
    AdmissionRecord out;
    OSTAL_TRY(out.anchor, json::string_member(*object, "anchor"));
    OSTAL_TRY(out.targets, json::string_member(*object, "targets"));
    return out;
}

// The manifest of one version in targets metadata.
Result<security::ModelManifest> find_manifest(const security::Targets& targets, const ModelVersion& version) {
    for (security::ModelManifest& manifest : security::manifests_of(targets)) {
        if (manifest.model == version.model && manifest.version == version.version)
            return std::move(manifest);
    }
    return fail(Error(Code::kIntegrity, "the metadata that admitted " + version.model + " version " +
                                            std::to_string(version.version) + " does not list it")
                    .because("mismatch"));
}

Status insert_version(security::Transaction& tx, const ModelVersion& version,
                      const std::vector<std::pair<std::string, security::Id>>& file_keys) {
    OSTAL_TRYV(
        tx.execute("DELETE FROM model_approvals WHERE version_id IN (SELECT id FROM model_versions "
                   "WHERE tenant = ? AND name = ? AND version = ?)",
                   {kTenant, version.model, static_cast<std::int64_t>(version.version)}));
    // A retired version whose files are gone may come back.
    OSTAL_TRYV(tx.execute("DELETE FROM model_versions WHERE tenant = ? AND name = ? AND version = ?",
                          {kTenant, version.model, static_cast<std::int64_t>(version.version)}));
    OSTAL_TRYV(
        tx.execute("INSERT INTO model_versions(id, tenant, name, version, state, manifest_sha256, format, "
                   "default_system, license, "
                   "total_bytes, imported_us, imported_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   {version.id, kTenant, version.model, static_cast<std::int64_t>(version.version),
                    version_state_name(VersionState::kStaged), version.manifest_sha256, version.format,
                    version.default_system, version.license, static_cast<std::int64_t>(version.total_bytes),
                    version.imported_us, version.imported_by}));
    for (const auto& [file, key] : file_keys) {
        OSTAL_TRYV(tx.execute("INSERT INTO model_files(version_id, name, dek_id) VALUES (?, ?, ?)",
                              {version.id, file, key}));
    }
    return {};
}

}  // namespace

Bytes make_admission(const std::string& anchor, ByteSpan targets_file) {
    const std::string text =
        json::to_string(json::Object{{"anchor", anchor}, {"targets", as_text(targets_file)}});
    return Bytes(text.begin(), text.end());
}

// ---- what a medium is judged against ----

Result<TrustView> ModelStore::trust_view() const {
    TrustView view;
    view.anchors = state_->trust->snapshot();
    view.now_us = state_->seams.clock.wall_now_us();
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    for (const security::AnchorRoots& anchor : view.anchors) {
        security::SeenVersions& seen = view.seen[anchor.name];
        OSTAL_TRY(const auto rows,
                  (tx.query<std::string, std::int64_t, std::string>(
                      "SELECT role, version, digest FROM trust_seen WHERE anchor = ?", {anchor.name})));
        for (const auto& [name, version, digest] : rows) {
            OSTAL_TRY(const MetadataRole role, security::metadata_role_from_name(name));
            if (role == MetadataRole::kRoot) continue;
            seen.of(role) = {static_cast<std::uint64_t>(version), digest};
        }
    }
    return view;
}

Result<ModelStore::Admission> ModelStore::judge(const std::string& anchor,
                                                const security::ModelManifest& manifest,
                                                bool has_files) const {
    OSTAL_TRY(auto tx, state_->seams.database.begin_read());
    OSTAL_TRY(const auto row, read_name(tx, manifest.model));
    if (row && row->anchor != anchor) {
        return fail(Error(Code::kConflict, "the model name " + manifest.model + " belongs to the anchor " +
                                               row->anchor + ", this medium is signed under " + anchor)
                        .because("other_anchor"));
    }
    if (row) {
        OSTAL_TRY(const auto versions, read_versions(tx, manifest.model));
        for (const ModelVersion& version : versions) {
            if (version.version != manifest.version || !version.has_files) continue;
            if (version.manifest_sha256 == manifest.digest_hex()) return Admission::kAgain;
            if (!has_files) return Admission::kNotNeeded;
            return fail(Error(Code::kConflict, name_of(manifest) +
                                                   " is here already with other content: the signer must "
                                                   "raise the version")
                            .because("other_content"));
        }
    }
    if (!has_files) return Admission::kNotNeeded;
    OSTAL_TRYV(state_->check_loadable(manifest.model, row.value_or(NameRow{}), manifest.version));
    return Admission::kNew;
}

Status ModelStore::follow(const AnchoredRepository& verified, const security::MetadataFiles& files) {
    const std::string& anchor = verified.anchor;
    const std::uint64_t newest = verified.repository.root.metadata.version;
    if (newest < state_->file_floor(role_floor_name(anchor, MetadataRole::kRoot)).version) {
        return fail(Error(Code::kIntegrity, "the medium's newest root is older than one trusted before")
                        .because("metadata_rollback"));
    }
    // What was seen first: the same medium can be imported again after a crash between the two, because equal
    // versions with equal content are no rollback.
    security::SeenVersions seen = verified.repository.seen;
    security::Floors floors;
    OSTAL_TRY(auto tx, state_->seams.database.begin_write());
    for (const MetadataRole role :
         {MetadataRole::kTimestamp, MetadataRole::kSnapshot, MetadataRole::kTargets}) {
        floors[role_floor_name(anchor, role)] = {seen.of(role).version, std::nullopt};
        OSTAL_TRYV(tx.execute(
            "INSERT INTO trust_seen(anchor, role, version, digest) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (anchor, role) DO UPDATE SET version = excluded.version, digest = excluded.digest",
            {anchor, security::metadata_role_name(role), static_cast<std::int64_t>(seen.of(role).version),
             seen.of(role).digest}));
    }
    OSTAL_TRYV(state_->put_floors(floors));
    OSTAL_TRYV(tx.commit());
    for (const std::string& name : verified.repository.new_roots) {
        OSTAL_TRYV(state_->trust->advance(anchor, files.at(name)));
    }
    return state_->put_floors({{role_floor_name(anchor, MetadataRole::kRoot), {newest, std::nullopt}}});
}

// ---- taking a version in ----

Status ModelStore::admit(const std::string& anchor, const security::ModelManifest& manifest,
                         const std::string& sealed_folder,
                         const std::vector<std::pair<std::string, security::Id>>& file_keys,
                         const security::Id& imported_by) {
    OSTAL_TRY(const auto guard, state_->guard(manifest.model));
    Files& files = state_->seams.files;
    const std::string model_folder = join_path(state_->models_folder(), manifest.model);
    const std::string folder = version_folder(manifest.model, manifest.version);
    OSTAL_TRYV(make_directories(files, model_folder));
    OSTAL_TRYV(remove_tree(files, folder));  // of an attempt that never got its row
    OSTAL_TRYV(files.rename(sealed_folder, folder));
    OSTAL_TRYV(files.sync_directory(model_folder));
    OSTAL_TRYV(files.sync_directory(state_->models_folder()));

    ModelVersion version;
    version.id = security::new_id(state_->seams.random);
    version.anchor = anchor;
    version.model = manifest.model;
    version.version = manifest.version;
    version.manifest_sha256 = manifest.digest_hex();
    version.format = manifest.format;
    version.default_system = manifest.default_system;
    version.license = manifest.license;
    version.total_bytes = manifest.total_bytes();
    version.imported_us = state_->seams.clock.wall_now_us();
    version.imported_by = imported_by;
    {
        OSTAL_TRY(auto tx, state_->seams.database.begin_write());
        OSTAL_TRY(auto row, read_name(tx, manifest.model));
        if (!row) row = NameRow{anchor, 0, {}, {}, {}};
        OSTAL_TRYV(write_name(tx, manifest.model, *row));
        OSTAL_TRYV(insert_version(tx, version, file_keys));
        OSTAL_TRYV(tx.commit());
    }
    return state_->finish_staged(version);
}

Status ModelStore::State::finish_staged(const ModelVersion& version) {
    OSTAL_TRYV(open_files(version));
    OSTAL_TRY(auto tx, seams.database.begin_write());
    OSTAL_TRYV(write_state(tx, version.id, VersionState::kVerified));
    return tx.commit();
}

Status ModelStore::readmit(const security::ModelManifest& manifest, ByteSpan admission) {
    OSTAL_TRY(const auto guard, state_->guard(manifest.model));
    OSTAL_TRYV(replace_file(state_->seams.files,
                            join_path(version_folder(manifest.model, manifest.version), kAdmissionFile),
                            admission));
    // An import before may have failed between its two transactions.
    OSTAL_TRY(const ModelVersion found, get(manifest.model, manifest.version));
    return found.state == VersionState::kStaged ? state_->finish_staged(found) : Status();
}

// ---- loads ----

Result<security::Root> ModelStore::State::newest_root(const std::string& anchor) const {
    OSTAL_TRY(security::Root root, trust->newest(anchor));
    const std::uint64_t recorded = file_floor(role_floor_name(anchor, MetadataRole::kRoot)).version;
    if (root.metadata.version < recorded) {
        return fail(Error(Code::kIntegrity, "the anchor " + anchor + " stands at root version " +
                                                std::to_string(root.metadata.version) + ", version " +
                                                std::to_string(recorded) + " was trusted before")
                        .because("metadata_rollback"));
    }
    return root;
}

Result<OpenedVersion> ModelStore::State::open_files(const ModelVersion& version) const {
    const std::string folder = version_folder(version.model, version.version);
    OSTAL_TRY(const Bytes content,
              read_file(seams.files, join_path(folder, kAdmissionFile), kMaxAdmissionBytes));
    auto record = parse_admission(content);
    if (!record || record->anchor != version.anchor) {
        return fail(Error(Code::kIntegrity, "the record of what admitted " + version.model + " was altered")
                        .because("mismatch"));
    }
    OSTAL_TRY(const security::Root root, newest_root(version.anchor));
    OSTAL_TRY(const security::Targets targets, security::recheck_targets(root, as_bytes(record->targets)));
    OpenedVersion out;
    OSTAL_TRY(out.manifest, find_manifest(targets, version));
    if (out.manifest.digest_hex() != version.manifest_sha256) {
        return fail(Error(Code::kIntegrity, "the signed manifest of " + name_of(out.manifest) +
                                                " is not the one that was imported")
                        .because("mismatch"));
    }
    OSTAL_TRY(out.source, SealedSource::open(seams.files, seams.keyring, folder, out.manifest,
                                             {std::string(kAdmissionFile)}));
    return out;
}

Result<OpenedVersion> ModelStore::open_version(const std::string& model, std::uint64_t version) const {
    OSTAL_TRY(const ModelVersion found, get(model, version));
    const bool is_ready = found.state == VersionState::kApproved || found.state == VersionState::kActive ||
                          found.state == VersionState::kConfirmed;
    if (!is_ready) {
        return fail(Code::kConflict, model + " version " + std::to_string(version) + " is " +
                                         std::string(version_state_name(found.state)) +
                                         " and cannot be loaded");
    }
    {
        OSTAL_TRY(auto tx, state_->seams.database.begin_read());
        OSTAL_TRY(const auto row, read_name(tx, model));
        OSTAL_TRYV(state_->check_loadable(model, *row, version));
    }
    auto opened = state_->open_files(found);
    if (!opened)
        return fail(
            std::move(opened).error().with("while opening " + model + " version " + std::to_string(version)));
    return opened;
}

Status ModelStore::verify_version(const std::string& model, std::uint64_t version, const Progress& progress) {
    constexpr std::size_t kPieceBytes = 4U << 20;
    OSTAL_TRY(const ModelVersion found, get(model, version));
    if (!found.has_files)
        return fail(Code::kConflict,
                    model + " version " + std::to_string(version) + " has no files any more");
    OSTAL_TRY(const OpenedVersion opened, state_->open_files(found));
    Bytes buffer(kPieceBytes);
    std::uint64_t done = 0;
    for (const security::Target& target : opened.manifest.files) {
        security::ContentHasher hasher;
        for (std::uint64_t offset = 0; offset < target.length;) {
            const auto count =
                static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, target.length - offset));
            const MutableByteSpan piece = MutableByteSpan(buffer).first(count);
            OSTAL_TRYV(opened.source->read(target.path.file, offset, piece));
            hasher.update(piece);
            offset += count;
            done += count;
            if (progress && !progress(done, found.total_bytes))
                return fail(Code::kCancelled, "the verification was stopped");
        }
        OSTAL_TRYV(check_digest(target, hasher.finish()));
    }
    OSTAL_TRYV(opened.source->check_unchanged());
    if (found.state != VersionState::kStaged) return {};
    OSTAL_TRY(auto tx, state_->seams.database.begin_write());
    OSTAL_TRYV(write_state(tx, found.id, VersionState::kVerified));
    return tx.commit();
}

}  // namespace ostal
