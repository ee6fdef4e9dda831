#include "appliance/model_store/content.h"

#include <algorithm>
#include <set>

#include "base/check.h"

namespace ostal {
namespace {

constexpr std::size_t kLeafBytes = 1U << 20;
constexpr std::size_t kMaxMetadataFiles = 190;

tl::unexpected<Error> refuse(std::string reason, std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because(std::move(reason)));
}

}  // namespace

void ContentHasher::update(ByteSpan bytes) {
    length_ += bytes.size();
    whole_.update(bytes);
    while (!bytes.empty()) {
        const std::size_t count = std::min(bytes.size(), kLeafBytes - leaf_.size());
        append(leaf_, bytes.first(count));
        bytes = bytes.subspan(count);
        if (leaf_.size() == kLeafBytes) {
            tree_.add(leaf_);
            leaf_.clear();
        }
    }
}

ContentHasher::Digest ContentHasher::finish() {
    if (!leaf_.empty()) tree_.add(leaf_);
    leaf_.clear();
    return {length_, to_hex(whole_.finish()), to_hex(tree_.root())};
}

Status check_digest(const security::Target& target, const ContentHasher::Digest& digest) {
    const std::string file = target.path.to_string();
    if (digest.length != target.length) {
        return refuse("mismatch", file + " has " + std::to_string(digest.length) + " bytes, " +
                                      std::to_string(target.length) + " are signed");
    }
    if (digest.sha256 != target.sha256) {
        return refuse("mismatch", file + " is not the file that was signed: its digest is " + digest.sha256 +
                                      ", signed is " + target.sha256);
    }
    if (digest.chunk_root != target.custom.chunk_root) {
        return refuse("mismatch", file + " has the chunk root " + digest.chunk_root + ", signed is " +
                                      target.custom.chunk_root);
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
