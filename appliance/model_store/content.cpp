#include "appliance/model_store/content.h"

#include <algorithm>
#include <set>

#include "base/check.h"

namespace ostal {
namespace {

constexpr std::size_t kMaxMetadataFiles = 190;

tl::unexpected<Error> refuse(std::string reason, std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because(std::move(reason)));
}

}  // namespace

Status check_digest(const security::Target& target, const security::ContentDigest& digest) {
    const std::string file = target.path.to_string();
    if (digest.bytes != target.length) {
        return refuse("mismatch", file + " has " + std::to_string(digest.bytes) + " bytes, " +
                                      std::to_string(target.length) + " are signed");
    }
    if (const std::string sha256 = to_hex(digest.sha256); sha256 != target.sha256) {
        return refuse("mismatch", file + " is not the file that was signed: its digest is " + sha256 +
                                      ", signed is " + target.sha256);
    }
    if (const std::string root = to_hex(digest.merkle_root); root != target.custom.chunk_root) {
        return refuse("mismatch",
                      file + " has the chunk root " + root + ", signed is " + target.custom.chunk_root);
    }
    return {};
}

Result<std::vector<PresentVersion>> match_targets(const security::Targets& targets, const Medium& medium) {
    std::set<std::string> listed;
    std::vector<PresentVersion> out;
    for (security::ModelManifest& manifest : security::manifests_of(targets)) {
        std::string missing;
        std::size_t present = 0;
        for (const security::Target& file : manifest.files) {
            const std::string name = file.path.on_medium(file.sha256);
            listed.insert(name);
            if (medium.targets().contains(name)) {
                ++present;
            } else if (missing.empty()) {
                missing = name;
            }
        }
        if (present > 0 && !missing.empty()) return refuse("missing", "the file " + missing + " is missing");
        out.push_back({std::move(manifest), present > 0});
    }
    for (const auto& [name, pieces] : medium.targets()) {
        if (!listed.contains(name)) return refuse("extra", "the file " + name + " is not listed");
    }
    return out;
}

const std::vector<File*>& pieces_of(const security::Target& target, const Medium& medium) {
    const auto found = medium.targets().find(target.path.on_medium(target.sha256));
    CHECK(found != medium.targets().end());
    return found->second;
}

Result<std::map<std::string, Bytes>> read_metadata(const Medium& medium) {
    std::map<std::string, Bytes> out;
    const auto names = medium.metadata_files();
    if (names.size() > kMaxMetadataFiles) return refuse("extra", "the medium has too many files of metadata");
    for (const std::string& name : names) {
        Bytes content(security::kMaxMetadataBytes + 1);
        OSTAL_TRY(const std::size_t got, medium.metadata_file(name).pread(content, 0));
        if (got > security::kMaxMetadataBytes) {
            return refuse("too_large", "metadata/" + name + " is too large");
        }
        content.resize(got);
        out.emplace(name, std::move(content));
    }
    return out;
}

}  // namespace ostal
