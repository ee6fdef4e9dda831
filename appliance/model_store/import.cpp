#include "appliance/model_store/import.h"

#include <algorithm>

#include "appliance/model_store/content.h"
#include "base/check.h"
#include "security/crypto/hash.h"
#include "security/storage/sealed_file.h"

namespace ostal {
namespace {

using Stage = ImportProgress::Stage;

// A version on its way in.
struct Incoming {
    security::ModelManifest manifest;
    std::vector<std::unique_ptr<File>> copies;               // as manifest.files
    std::vector<std::pair<std::string, security::Id>> keys;  // file name -> data key
    std::string sealed_folder;
};

security::Digest32 digest_from_hex(const std::string& hex);

class Import {
public:
    Import(ModelStore& store, const Medium& medium, const ImportOptions& options)
        : store_(store), medium_(medium), options_(options), files_(store.seams().files) {}

    Result<ImportReport> run() {
        OSTAL_TRYV(make_staging());
        OSTAL_TRYV(verify_medium());
        OSTAL_TRYV(select_versions());
        for (Incoming& version : incoming_) OSTAL_TRYV(copy(version));
        for (Incoming& version : incoming_) OSTAL_TRYV(check(version));
        for (Incoming& version : incoming_) OSTAL_TRYV(seal(version));
        OSTAL_TRYV(store_.follow(*verified_, metadata_));
        OSTAL_TRYV(admit());
        return std::move(report_);
    }
    // What is left behind: staging, and data keys that no row names.
    void clean_up() {
        const auto kept = store_.data_keys();
        for (const security::Id& key : made_keys_) {
            if (kept && !kept->contains(key)) (void)store_.seams().keyring.erase_dek(key);
        }
        if (!staging_.empty()) (void)remove_tree(files_, staging_);
    }

private:
    Status make_staging() {
        Bytes id(16);
        store_.seams().random.fill(id);
        staging_ = join_path(store_.seams().state_folder, "staging/" + to_base32_lower(id));
        OSTAL_TRYV(make_directories(files_, join_path(staging_, "metadata")));
        return make_directories(files_, join_path(staging_, "targets"));
    }

    // Step 1. The worker reads the copies; what it found must be what is found here.
    Status verify_medium() {
        OSTAL_TRY(metadata_, read_metadata(medium_));
        std::vector<std::unique_ptr<File>> copies;
        std::vector<StagedFile> staged;
        for (const auto& [name, content] : metadata_) {
            OSTAL_TRY(auto copy, files_.open(join_path(staging_, "metadata/" + name), Files::Open::kCreate));
            OSTAL_TRYV(copy->write(content));
            staged.push_back({name, copy->descriptor()});
            copies.push_back(std::move(copy));
        }
        OSTAL_TRY(const TrustView trust, store_.trust_view());
        OSTAL_TRY(const VerifiedBundle claimed, ask_metadata(options_.runner, trust, staged));
        OSTAL_TRY(verified_, verify_metadata(trust, metadata_));
        if (json::to_string(to_json(claimed)) != json::to_string(to_json(describe(*verified_)))) {
            return fail(Code::kInternal, "the verify worker found something else than the daemon");
        }
        report_.anchor = verified_->anchor;
        return {};
    }

    bool is_wanted(const security::ModelManifest& manifest) const {
        if (options_.only_model && manifest.model != *options_.only_model) return false;
        return !options_.only_version || manifest.version == *options_.only_version;
    }

    // Step 2.
    Status select_versions() {
        OSTAL_TRY(std::vector<PresentVersion> present, match_targets(verified_->repository.targets, medium_));
        for (PresentVersion& version : present) {
            if (!is_wanted(version.manifest)) continue;
            OSTAL_TRY(const auto admission,
                      store_.judge(verified_->anchor, version.manifest, version.has_files));
            if (admission == ModelStore::Admission::kAgain) again_.push_back(std::move(version.manifest));
            if (admission == ModelStore::Admission::kNew) {
                if (version.manifest.files.size() > kMaxFilesOfVersion) {
                    return fail(Code::kTooLarge, version.manifest.model + " has more than " +
                                                     std::to_string(kMaxFilesOfVersion) + " files");
                }
                total_ += version.manifest.total_bytes();
                incoming_.push_back({std::move(version.manifest), {}, {}, {}});
            }
        }
        if (!incoming_.empty() || !again_.empty()) return {};
        return fail(
            Error(Code::kNotFound,
                  "the medium holds no files of a model that is asked for, and none that is here already")
                .because("nothing_to_import"));
    }

    Status advance(Stage stage, const std::string& file, std::uint64_t bytes) {
        if (stage != stage_) {
            stage_ = stage;
            done_ = 0;
        }
        done_ += bytes;
        if (options_.progress && !options_.progress({stage, file, done_, total_})) {
            return fail(Code::kCancelled, "the import was stopped");
        }
        return {};
    }

    // Step 3. Hashed as it is written: what was compared is what lies in staging.
    Status copy(Incoming& version) {
        for (const security::Target& target : version.manifest.files) {
            const std::string name = std::to_string(copied_++);
            OSTAL_TRY(auto copy, files_.open(join_path(staging_, "targets/" + name), Files::Open::kCreate));
            if (target.length > 0) OSTAL_TRYV(copy->allocate(target.length));
            security::ContentHasher hasher;
            auto read = read_pieces(pieces_of(target, medium_), target.length, [&](ByteSpan bytes) -> Status {
                hasher.update(bytes);
                OSTAL_TRYV(copy->write(bytes));
                return advance(Stage::kCopying, target.path.file, bytes.size());
            });
            if (!read) return fail(std::move(read).error().with("while copying " + target.path.to_string()));
            OSTAL_TRYV(check_digest(target, hasher.finish()));
            version.copies.push_back(std::move(copy));
        }
        return {};
    }

    // Step 4.
    Status check(const Incoming& version) {
        OSTAL_TRYV(advance(Stage::kChecking, version.manifest.model, 0));
        std::vector<StagedFile> staged;
        for (std::size_t i = 0; i < version.copies.size(); ++i) {
            staged.push_back({version.manifest.files[i].path.file, version.copies[i]->descriptor()});
        }
        auto status = ask_model(options_.runner, staged);
        if (!status) {
            return fail(std::move(status).error().with("while looking into " + version.manifest.model +
                                                       " version " +
                                                       std::to_string(version.manifest.version)));
        }
        return {};
    }

    // Step 5.
    Status seal(Incoming& version) {
        const security::ModelManifest& manifest = version.manifest;
        version.sealed_folder =
            join_path(staging_, "sealed/" + manifest.model + "/" + std::to_string(manifest.version));
        OSTAL_TRYV(make_directories(files_, version.sealed_folder));
        for (std::size_t i = 0; i < manifest.files.size(); ++i) {
            OSTAL_TRY(const security::Id key, seal_file(version, manifest.files[i], *version.copies[i]));
            version.keys.emplace_back(manifest.files[i].path.file, key);
        }
        version.copies.clear();
        OSTAL_TRYV(replace_file(files_, join_path(version.sealed_folder, kAdmissionFile), admission()));
        return files_.sync_directory(version.sealed_folder);
    }

    Result<security::Id> seal_file(const Incoming& version, const security::Target& target, File& copy) {
        const ModelStoreSeams& seams = store_.seams();
        OSTAL_TRY(const security::Dek dek, seams.keyring.new_dek(model_key_owner(target.path)));
        made_keys_.push_back(dek.id);
        security::SealedHeader header;
        header.file_id = security::new_id(seams.random);
        header.dek_id = dek.id;
        header.plaintext_bytes = target.length;
        header.sha256 = digest_from_hex(target.sha256);
        header.merkle_root = digest_from_hex(target.custom.chunk_root);
        header.target_sha256 = digest_from_hex(security::target_digest_hex(target));
        header.path_sha256 = security::sha256(as_bytes(target.path.to_string()));
        const std::string path = join_path(version.sealed_folder, sealed_name(target.path.file));
        OSTAL_TRY(const auto writer,
                  security::SealedWriter::create(files_, path, header, dek.key.view(), seams.random));
        auto status = read_pieces({&copy}, target.length, [&](ByteSpan bytes) -> Status {
            OSTAL_TRYV(writer->write(bytes));
            return advance(Stage::kSealing, target.path.file, bytes.size());
        });
        if (status) status = writer->finish();
        if (!status) return fail(std::move(status).error().with("while sealing " + target.path.to_string()));
        OSTAL_TRYV(copy.truncate(0));  // its room is needed for the files to come
        return dek.id;
    }

    Bytes admission() const {
        return make_admission(verified_->anchor, metadata_.at(verified_->repository.targets_file));
    }

    // Step 6.
    Status admit() {
        for (const Incoming& version : incoming_) {
            OSTAL_TRYV(store_.admit(verified_->anchor, version.manifest, version.sealed_folder, version.keys,
                                    options_.imported_by));
            add_to_report(version.manifest, ImportedVersion::Outcome::kImported);
        }
        for (const security::ModelManifest& manifest : again_) {
            OSTAL_TRYV(store_.readmit(manifest, admission()));
            add_to_report(manifest, ImportedVersion::Outcome::kAdmittedAgain);
        }
        return {};
    }
    void add_to_report(const security::ModelManifest& manifest, ImportedVersion::Outcome outcome) {
        report_.versions.push_back(
            {manifest.model, manifest.version, outcome, manifest.digest_hex(), manifest.total_bytes()});
    }

    ModelStore& store_;
    const Medium& medium_;
    const ImportOptions& options_;
    Files& files_;
    std::string staging_;
    security::MetadataFiles metadata_;
    std::optional<AnchoredRepository> verified_;
    std::vector<Incoming> incoming_;
    std::vector<security::ModelManifest> again_;
    std::vector<security::Id> made_keys_;
    std::uint64_t total_ = 0;
    std::uint64_t done_ = 0;
    std::size_t copied_ = 0;
    Stage stage_ = Stage::kCopying;
    ImportReport report_;
};

security::Digest32 digest_from_hex(const std::string& hex) {
    const auto bytes = from_hex(hex);  // the parser of metadata has checked the form
    CHECK(bytes && bytes->size() == 32);
    security::Digest32 out{};
    std::copy(bytes->begin(), bytes->end(), out.begin());
    return out;
}

}  // namespace

json::Value to_json(const ImportReport& report) {
    json::Array versions;
    for (const ImportedVersion& version : report.versions) {
        const bool is_new = version.outcome == ImportedVersion::Outcome::kImported;
        versions.emplace_back(json::Object{{"model", version.model},
                                           {"version", json::Value(version.version)},
                                           {"outcome", is_new ? "imported" : "admitted_again"},
                                           {"manifest_sha256", version.manifest_sha256},
                                           {"bytes", json::Value(version.total_bytes)}});
    }
    return json::Object{{"anchor", report.anchor}, {"versions", std::move(versions)}};
}

Result<ImportReport> import_medium(ModelStore& store, const Medium& medium, const ImportOptions& options) {
    CHECK(options.runner != nullptr);
    OSTAL_TRY(const auto lock, store.lock_imports());
    Import import(store, medium, options);
    auto report = import.run();
    import.clean_up();
    return report;
}

}  // namespace ostal
