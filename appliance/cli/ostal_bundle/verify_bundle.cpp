#include "appliance/cli/ostal_bundle/verify_bundle.h"

namespace ostal::bundle {
namespace {

constexpr std::size_t kHeadBytes = 512;

// Digest, and the kind of file by its first bytes.
Status check_target(const security::Target& target, const Medium& medium) {
    security::ContentHasher hasher;
    Bytes head;
    OSTAL_TRYV(read_pieces(pieces_of(target, medium), target.length, [&](ByteSpan bytes) -> Status {
        if (head.size() < kHeadBytes)
            append(head, bytes.first(std::min(bytes.size(), kHeadBytes - head.size())));
        hasher.update(bytes);
        return {};
    }));
    OSTAL_TRYV(check_digest(target, hasher.finish()));
    return check_file_kind(target.path.file, head);
}

// The engine's own check needs whole files; one in pieces is joined on the appliance.
Status check_model(const security::ModelManifest& manifest, const Medium& medium) {
    std::vector<StagedFile> staged;
    for (const security::Target& target : manifest.files) {
        const auto& pieces = pieces_of(target, medium);
        if (pieces.size() != 1) return {};
        staged.push_back({target.path.file, pieces[0]->descriptor()});
    }
    return ask_model(run_in_process, staged);
}

}  // namespace

Result<BundleCheck> check_bundle(const std::string& folder, const TrustView& trust,
                                 const std::function<void(const std::string& file)>& on_file) {
    OSTAL_TRY(const Medium medium, Medium::open_folder(folder));
    OSTAL_TRY(const auto metadata, read_metadata(medium));
    OSTAL_TRY(const AnchoredRepository verified, verify_metadata(trust, metadata));
    BundleCheck out;
    out.bundle = describe(verified);
    OSTAL_TRY(out.versions, match_targets(verified.repository.targets, medium));
    for (const PresentVersion& version : out.versions) {
        if (!version.has_files) continue;
        for (const security::Target& target : version.manifest.files) {
            auto status = check_target(target, medium);
            if (!status)
                return fail(std::move(status).error().with("while checking " + target.path.to_string()));
            if (on_file) on_file(target.path.to_string());
        }
        OSTAL_TRYV(check_model(version.manifest, medium));
    }
    return out;
}

}  // namespace ostal::bundle
