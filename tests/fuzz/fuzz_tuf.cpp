// Signed metadata from a medium: the parsers, and the walk over a whole set of files. The first byte chooses;
// a set is files that follow each other, each as name, newline, content, NUL.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/bytes.h"
#include "security/signature/trust_store.h"
#include "security/signature/verifier.h"

namespace {

using namespace ostal;
using namespace ostal::security;

// What every accepted head has.
void check_head(const Metadata& metadata) {
    if (metadata.canonical.empty() || metadata.version == 0 || metadata.version > kMaxVersion) std::abort();
    if (parse_utc(format_utc(metadata.expires_us)) != metadata.expires_us) std::abort();
}

void parse_all(ByteSpan bytes) {
    if (const auto root = parse_root(bytes)) check_head(root->metadata);
    if (const auto timestamp = parse_timestamp(bytes)) check_head(timestamp->metadata);
    if (const auto snapshot = parse_snapshot(bytes)) check_head(snapshot->metadata);
    if (const auto targets = parse_targets(bytes)) {
        check_head(targets->metadata);
        std::size_t files = 0;
        for (const ModelManifest& manifest : manifests_of(*targets)) {
            files += manifest.files.size();
            for (const Target& target : manifest.files) {
                // Paths that passed never leave their folder.
                const std::string path = target.path.to_string();
                if (path.find("/.") != std::string::npos || path.find("//") != std::string::npos)
                    std::abort();
                if (!parse_target_path(path) || layout_of(target.path.file) != target.custom.layout)
                    std::abort();
            }
        }
        if (files != targets->targets.size()) std::abort();
    }
}

MetadataFiles split(std::string_view text) {
    MetadataFiles files;
    while (!text.empty()) {
        const std::string_view one = text.substr(0, text.find('\0'));
        text.remove_prefix(std::min(text.size(), one.size() + 1));
        const std::size_t newline = std::min(one.find('\n'), one.size());
        const ByteSpan content = as_bytes(one.substr(std::min(one.size(), newline + 1)));
        files.emplace(std::string(one.substr(0, newline)), Bytes(content.begin(), content.end()));
    }
    return files;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const ByteSpan rest(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        parse_all(rest);
        return 0;
    }
    const MetadataFiles files = split(as_text(rest));
    const auto first = files.find("1.root.json");
    if (first == files.end()) return 0;
    const auto anchor = parse_anchor({"fuzz", {first->second}});
    if (!anchor) return 0;
    const auto verified = verify_repository(anchor->roots[0], {}, files, 1'800'000'000'000'000);
    // Every refusal says why, in a word.
    if (!verified && verified.error().reason().empty()) std::abort();
    return 0;
}
