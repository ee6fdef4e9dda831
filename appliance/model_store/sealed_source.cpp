#include "appliance/model_store/sealed_source.h"

#include <algorithm>
#include <map>

#include "security/crypto/hash.h"
#include "security/storage/sealed_file.h"

namespace ostal {
namespace {

tl::unexpected<Error> mismatch(const std::string& file, const std::string& what) {
    return fail(Error(Code::kIntegrity, file + ": " + what).because("mismatch"));
}

// The sealed header against the signed target: whatever differs, the file is not the one that was signed.
Status check_header(const security::Target& target, const security::SealedHeader& header) {
    const auto hex = [](const security::Digest32& digest) { return to_hex(digest); };
    const std::string path = target.path.to_string();
    if (header.plaintext_bytes != target.length)
        return mismatch(path, "the sealed file has another length than was signed");
    if (hex(header.sha256) != target.sha256)
        return mismatch(path, "the sealed file has another digest than was signed");
    if (hex(header.merkle_root) != target.custom.chunk_root)
        return mismatch(path, "the sealed file has another chunk root than was signed");
    if (hex(header.target_sha256) != security::target_digest_hex(target))
        return mismatch(path, "the sealed file belongs to another signed target");
    if (hex(header.path_sha256) != hex(security::sha256(as_bytes(path))))
        return mismatch(path, "the sealed file belongs to another path");
    return {};
}

// Nothing lies in the folder but what is expected there.
Status check_folder(Files& files, const std::string& folder, const security::ModelManifest& manifest,
                    const std::vector<std::string>& also) {
    OSTAL_TRY(const auto names, files.list_directory(folder));
    for (const std::string& name : names) {
        const bool sealed = std::any_of(
            manifest.files.begin(), manifest.files.end(),
            [&](const security::Target& target) { return sealed_name(target.path.file) == name; });
        if (!sealed && std::find(also.begin(), also.end(), name) == also.end()) {
            return fail(Error(Code::kIntegrity, folder + " holds " + name + ", which no signed target names")
                            .because("extra"));
        }
    }
    return {};
}

}  // namespace

std::string model_key_owner(const security::TargetPath& path) {
    return "tenant/default/model/" + path.to_string();
}

std::string sealed_name(const std::string& file) { return file + ".ostw"; }

struct SealedSource::State {
    std::vector<engine::SourceFile> files;  // sorted by name
    std::map<std::string, std::unique_ptr<security::SealedReader>, std::less<>> readers;
};

SealedSource::SealedSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
SealedSource::~SealedSource() = default;

Result<std::unique_ptr<SealedSource>> SealedSource::open(Files& files, const security::Keyring& keyring,
                                                         const std::string& folder,
                                                         const security::ModelManifest& manifest,
                                                         const std::vector<std::string>& also) {
    OSTAL_TRYV(check_folder(files, folder, manifest, also));
    auto state = std::make_unique<State>();
    for (const security::Target& target : manifest.files) {
        const std::string path = join_path(folder, sealed_name(target.path.file));
        auto header = security::read_sealed_header(files, path);
        if (!header && header.error().code() == Code::kNotFound) {
            return fail(Error(Code::kIntegrity, path + " is missing").because("missing"));
        }
        if (!header) return fail(std::move(header).error().with("while opening " + path));
        OSTAL_TRYV(check_header(target, *header));
        OSTAL_TRY(const security::Dek dek, keyring.dek(header->dek_id, model_key_owner(target.path)));
        auto reader = security::SealedReader::open(files, path, dek.key.view());
        if (!reader) return fail(std::move(reader).error().with("while opening " + path));
        // The header read first is not authenticated before the open: it must be the same one.
        OSTAL_TRYV(check_header(target, (*reader)->header()));
        state->files.push_back({target.path.file, target.length});
        state->readers.emplace(target.path.file, std::move(*reader));
    }
    std::sort(state->files.begin(), state->files.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::unique_ptr<SealedSource>(new SealedSource(std::move(state)));
}

const std::vector<engine::SourceFile>& SealedSource::files() const { return state_->files; }

Status SealedSource::read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const {
    const auto it = state_->readers.find(name);
    if (it == state_->readers.end())
        return fail(Code::kNotFound, "the model has no file " + std::string(name));
    return it->second->read(offset, out);
}

Status SealedSource::check_unchanged() const {
    for (const auto& [name, reader] : state_->readers) OSTAL_TRYV(reader->check_unchanged());
    return {};
}

}  // namespace ostal
