#include "appliance/model_store/import.h"

#include "appliance/model_store/content.h"
#include "security/crypto/hash.h"
#include "security/storage/ids.h"
#include "security/storage/sealed_file.h"

namespace ostal {
namespace {

constexpr std::size_t kCopyBytes = 1U << 20;

using Stage = ImportProgress::Stage;

security::Digest32 digest_of_hex(const std::string& hex) {
    security::Digest32 out{};
    const auto bytes = from_hex(hex);
    if (bytes && bytes->size() == out.size()) std::copy(bytes->begin(), bytes->end(), out.begin());
    return out;
}

// One import: a folder of its own below staging/, and the data keys that no row names yet.
class Import {
public:
    Import(ModelStore& store, const Medium& medium, const ImportOptions& options)
        : store_(store), medium_(medium), options_(options), files_(store.seams().files) {
        security::Id id = security::new_id(store.seams().random);
        folder_ = join_path(join_path(store.seams().state_folder, "staging"), to_hex(id));
    }
    // What was not taken over disappears: copies, sealed files and their keys.
    ~Import() {
        for (const security::Id& key : new_keys_) discard(store_.seams().keyring.erase_dek(key));
        discard(remove_tree(files_, folder_));
    }
    Import(const Import&) = delete;
    Import& operator=(const Import&) = delete;

    Result<ImportReport> run();

private:
    struct Sealed {
        security::ModelManifest manifest;
        std::string folder;
        std::vector<std::pair<std::string, security::Id>> keys;  // by file
    };

    Status stage_metadata();
    Result<std::vector<Sealed>> take(const PresentVersion& version);
    Status copy_version(const security::ModelManifest& manifest, const std::string& folder);
    Status check_version(const security::ModelManifest& manifest, const std::string& folder);
    Result<Sealed> seal_version(const security::ModelManifest& manifest, const std::string& copies);
    Status seal_file(const security::Target& target, const std::string& copy, Sealed& sealed);
    Status tell(Stage stage, const std::string& file, std::uint64_t done, std::uint64_t total);
    bool is_wanted(const security::ModelManifest& manifest) const;
    void discard(const Status& status) {
        if (!status) store_.seams().log.warning("import: clean-up", {{"error", status.error().to_string()}});
    }

    ModelStore& store_;
    const Medium& medium_;
    const ImportOptions& options_;
    Files& files_;
    std::string folder_;
    std::vector<security::Id> new_keys_;
    security::MetadataFiles metadata_;
};

bool Import::is_wanted(const security::ModelManifest& manifest) const {
    return (!options_.only_model || *options_.only_model == manifest.model) &&
           (!options_.only_version || *options_.only_version == manifest.version);
}

Status Import::tell(Stage stage, const std::string& file, std::uint64_t done, std::uint64_t total) {
    if (options_.progress && !options_.progress({stage, file, done, total})) {
        return fail(Code::kCancelled, "the import was cancelled");
    }
    return {};
}

// The medium is read once: what is verified below is this copy.
Status Import::stage_metadata() {
    OSTAL_TRYV(files_.make_directory(folder_));
    const std::string folder = join_path(folder_, "metadata");
    OSTAL_TRYV(files_.make_directory(folder));
    OSTAL_TRY(metadata_, read_metadata(medium_));
    for (const auto& [name, bytes] : metadata_) {
        OSTAL_TRY(const auto file, files_.open(join_path(folder, name), Files::Open::kCreate));
        OSTAL_TRYV(file->write(bytes));
    }
    return {};
}

Status Import::copy_version(const security::ModelManifest& manifest, const std::string& folder) {
    const std::uint64_t total = manifest.total_bytes();
    std::uint64_t done = 0;
    for (const security::Target& target : manifest.files) {
        OSTAL_TRY(const auto copy, files_.open(join_path(folder, target.path.file), Files::Open::kCreate));
        ContentHasher hasher;
        OSTAL_TRYV(tell(Stage::kCopying, target.path.file, done, total));
        const Status copied = read_pieces(pieces_of(target, medium_), target.length, [&](ByteSpan bytes) -> Status {
            hasher.update(bytes);
            OSTAL_TRYV(copy->write(bytes));
            done += bytes.size();
            return tell(Stage::kCopying, target.path.file, done, total);
        });
        if (!copied) return fail(Error(copied.error()).with("while copying " + target.path.to_string()));
        OSTAL_TRYV(check_digest(target, hasher.finish()));
    }
    return {};
}

// A worker looks into the copies; it gets descriptors, never paths.
Status Import::check_version(const security::ModelManifest& manifest, const std::string& folder) {
    OSTAL_TRYV(tell(Stage::kChecking, manifest.model, 0, manifest.total_bytes()));
    std::vector<std::unique_ptr<File>> opened;
    std::vector<StagedFile> staged;
    for (const security::Target& target : manifest.files) {
        OSTAL_TRY(auto file, files_.open(join_path(folder, target.path.file), Files::Open::kRead));
        staged.push_back({target.path.file, file->descriptor()});
        opened.push_back(std::move(file));
    }
    return ask_model(options_.runner, staged);
}

Status Import::seal_file(const security::Target& target, const std::string& copy, Sealed& sealed) {
    OSTAL_TRY(const security::Dek dek, store_.seams().keyring.new_dek(model_key_owner(target.path)));
    new_keys_.push_back(dek.id);
    security::SealedHeader header;
    header.file_id = security::new_id(store_.seams().random);
    header.dek_id = dek.id;
    header.plaintext_bytes = target.length;
    header.sha256 = digest_of_hex(target.sha256);
    header.merkle_root = digest_of_hex(target.custom.chunk_root);
    header.target_sha256 = digest_of_hex(security::target_digest_hex(target));
    header.path_sha256 = security::sha256(as_bytes(target.path.to_string()));
    OSTAL_TRY(const auto writer, security::SealedWriter::create(files_, join_path(sealed.folder, sealed_name(target.path.file)),
                                                                header, dek.key.view(), store_.seams().random));
    OSTAL_TRY(const auto source, files_.open(copy, Files::Open::kRead));
    Bytes buffer(kCopyBytes);
    for (;;) {
        OSTAL_TRY(const std::size_t got, source->read(buffer));
        if (got == 0) break;
        OSTAL_TRYV(writer->write(ByteSpan(buffer).first(got)));
    }
    OSTAL_TRYV(writer->finish());
    sealed.keys.emplace_back(target.path.file, dek.id);
    return {};
}

Result<Import::Sealed> Import::seal_version(const security::ModelManifest& manifest, const std::string& copies) {
    Sealed sealed{manifest, copies + ".sealed", {}};
    OSTAL_TRYV(files_.make_directory(sealed.folder));
    std::uint64_t done = 0;
    for (const security::Target& target : manifest.files) {
        OSTAL_TRYV(tell(Stage::kSealing, target.path.file, done, manifest.total_bytes()));
        const std::string copy = join_path(copies, target.path.file);
        const Status written = seal_file(target, copy, sealed);
        if (!written) return fail(Error(written.error()).with("while encrypting " + target.path.to_string()));
        OSTAL_TRYV(files_.remove_file(copy));
        done += target.length;
    }
    return sealed;
}

Result<ImportReport> Import::run() {
    OSTAL_TRYV(stage_metadata());
    OSTAL_TRY(const TrustView trust, store_.trust_view());
    {
        std::vector<std::unique_ptr<File>> opened;
        std::vector<StagedFile> staged;
        for (const auto& [name, bytes] : metadata_) {
            OSTAL_TRY(auto file, files_.open(join_path(join_path(folder_, "metadata"), name), Files::Open::kRead));
            staged.push_back({name, file->descriptor()});
            opened.push_back(std::move(file));
        }
        OSTAL_TRYV(ask_metadata(options_.runner, trust, staged));
    }
    // The worker is not believed: the proof is made again here, over the same bytes.
    OSTAL_TRY(const AnchoredRepository verified, verify_metadata(trust, metadata_));
    OSTAL_TRY(const auto versions, match_targets(verified.repository.targets, medium_));

    ImportReport report;
    report.anchor = verified.anchor;
    std::vector<Sealed> sealed;
    std::vector<security::ModelManifest> again;
    for (const PresentVersion& version : versions) {
        if (!is_wanted(version.manifest)) continue;
        OSTAL_TRY(const ModelStore::Admission admission, store_.judge(verified.anchor, version.manifest, version.has_files));
        if (admission == ModelStore::Admission::kNotNeeded) continue;
        if (admission == ModelStore::Admission::kAgain) {
            again.push_back(version.manifest);
            continue;
        }
        const std::string copies = join_path(folder_, version.manifest.model + "." + std::to_string(version.manifest.version));
        OSTAL_TRYV(files_.make_directory(copies));
        OSTAL_TRYV(copy_version(version.manifest, copies));
        OSTAL_TRYV(check_version(version.manifest, copies));
        OSTAL_TRY(Sealed one, seal_version(version.manifest, copies));
        sealed.push_back(std::move(one));
    }
    if (sealed.empty() && again.empty()) {
        return fail(Error(Code::kNotFound, "the medium holds no version that this appliance could import").because("nothing_to_import"));
    }

    const auto targets_file = metadata_.find(verified.repository.targets_file);
    if (targets_file == metadata_.end()) return fail(Code::kInternal, "the verified metadata has no targets file");
    const Bytes admission = make_admission(verified.anchor, targets_file->second);
    for (const Sealed& one : sealed) {
        OSTAL_TRYV(replace_file(files_, join_path(one.folder, kAdmissionFile), admission));
    }
    OSTAL_TRYV(store_.follow(verified, metadata_));
    for (const Sealed& one : sealed) {
        OSTAL_TRYV(store_.admit(verified.anchor, one.manifest, one.folder, one.keys, options_.imported_by));
        for (const auto& [file, key] : one.keys) std::erase(new_keys_, key);
        report.versions.push_back({one.manifest.model, one.manifest.version, ImportedVersion::Outcome::kImported,
                                   one.manifest.digest_hex(), one.manifest.total_bytes()});
    }
    for (const security::ModelManifest& manifest : again) {
        OSTAL_TRYV(store_.readmit(manifest, admission));
        report.versions.push_back({manifest.model, manifest.version, ImportedVersion::Outcome::kAdmittedAgain,
                                   manifest.digest_hex(), manifest.total_bytes()});
    }
    return report;
}

}  // namespace

json::Value to_json(const ImportReport& report) {
    json::Array versions;
    for (const ImportedVersion& version : report.versions) {
        versions.emplace_back(json::Object{
            {"model", version.model}, {"version", static_cast<std::int64_t>(version.version)},
            {"outcome", version.outcome == ImportedVersion::Outcome::kImported ? "imported" : "admitted_again"},
            {"manifest_sha256", version.manifest_sha256}, {"bytes", static_cast<std::int64_t>(version.total_bytes)}});
    }
    return json::Object{{"anchor", report.anchor}, {"versions", std::move(versions)}};
}

Result<ImportReport> import_medium(ModelStore& store, const Medium& medium, const ImportOptions& options) {
    OSTAL_TRY(const auto lock, store.lock_imports());
    Import import(store, medium, options);
    return import.run();
}

}  // namespace ostal
