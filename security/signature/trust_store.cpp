#include "security/signature/trust_store.h"

#include <map>
#include <mutex>

#include "security/signature/names.h"

namespace ostal::security {
namespace {

constexpr std::string_view kAnchorSuffix = ".root.json";
constexpr std::uint64_t kMaxChain = 1024;

struct TrustedRoot {
    Root root;
    Bytes bytes;
};
// Consecutive versions, oldest first, never empty once loaded.
using Chain = std::vector<TrustedRoot>;

tl::unexpected<Error> exchanged(std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because("wrong_root"));
}

Result<TrustedRoot> read_root(Files& files, const std::string& path) {
    TrustedRoot out;
    OSTAL_TRY(out.bytes, read_file(files, path, kMaxMetadataBytes));
    OSTAL_TRY(out.root, parse_root(out.bytes));
    OSTAL_TRYV(check_signatures(out.root, MetadataRole::kRoot, out.root.metadata));
    return out;
}

std::string root_path(const std::string& folder, std::uint64_t version) {
    return join_path(folder, metadata_file_name(MetadataRole::kRoot, version));
}

Status persist(Files& files, const std::string& folder, const TrustedRoot& root) {
    return replace_file(files, root_path(folder, root.root.metadata.version), root.bytes);
}

// The recorded chain, each step verified again; empty when the anchor is new.
Result<Chain> read_chain(Files& files, const std::string& folder) {
    Chain chain;
    const auto info = files.info(folder);
    if (!info) {
        if (info.error().code() == Code::kNotFound) return chain;
        return fail(info.error());
    }
    OSTAL_TRY(const auto names, files.list_directory(folder));
    std::map<std::uint64_t, std::string> by_version;
    for (const std::string& name : names) {
        if (!name.ends_with(kAnchorSuffix)) continue;  // a temporary file of replace_file
        const auto version =
            parse_version(std::string_view(name).substr(0, name.size() - kAnchorSuffix.size()));
        if (version) by_version.emplace(*version, name);
    }
    for (const auto& [version, name] : by_version) {
        auto root = read_root(files, join_path(folder, name));
        if (!root) return fail(std::move(root).error().with("in the recorded " + name));
        if (root->root.metadata.version != version)
            return exchanged("the recorded " + name + " holds another version");
        if (!chain.empty()) OSTAL_TRYV(check_root_step(chain.back().root, root->root));
        chain.push_back(std::move(*root));
    }
    return chain;
}

// Joins the anchor file to the recorded chain; what is new becomes durable.
Status join_anchor(Files& files, const std::string& folder, TrustedRoot anchor, Chain& chain) {
    if (chain.empty()) {
        OSTAL_TRYV(make_directories(files, folder));
        OSTAL_TRYV(persist(files, folder, anchor));
        chain.push_back(std::move(anchor));
        return {};
    }
    const std::uint64_t first = chain.front().root.metadata.version;
    const std::uint64_t last = chain.back().root.metadata.version;
    const std::uint64_t version = anchor.root.metadata.version;
    if (version >= first && version <= last) {
        if (chain[version - first].root.metadata.canonical == anchor.root.metadata.canonical) return {};
        return exchanged("it is not the root that was trusted under this name as version " +
                         std::to_string(version));
    }
    if (version == last + 1) {
        OSTAL_TRYV(check_root_step(chain.back().root, anchor.root));
        OSTAL_TRYV(persist(files, folder, anchor));
        chain.push_back(std::move(anchor));
        return {};
    }
    return exchanged("root version " + std::to_string(version) + " has no link to the trusted versions " +
                     std::to_string(first) + " to " + std::to_string(last));
}

}  // namespace

struct TrustStore::State {
    Files& files;
    std::string state_folder;
    std::vector<std::string> problems;
    mutable std::mutex mutex;
    std::map<std::string, Chain> chains;

    State(Files& files_in, std::string folder) : files(files_in), state_folder(std::move(folder)) {}

    Status load(const std::string& anchors_folder, const std::string& file_name) {
        const std::string name = file_name.substr(0, file_name.size() - kAnchorSuffix.size());
        if (!is_model_name(name))
            return fail(Code::kInvalidArgument, "an anchor's name is lower case: a-z 0-9 . _ -");
        OSTAL_TRY(TrustedRoot anchor, read_root(files, join_path(anchors_folder, file_name)));
        const std::string folder = join_path(state_folder, name);
        OSTAL_TRY(Chain chain, read_chain(files, folder));
        OSTAL_TRYV(join_anchor(files, folder, std::move(anchor), chain));
        chains.emplace(name, std::move(chain));
        return {};
    }
};

Result<AnchorChain> parse_anchor(const AnchorRoots& anchor) {
    AnchorChain out;
    out.name = anchor.name;
    for (const Bytes& bytes : anchor.roots) {
        OSTAL_TRY(Root root, parse_root(bytes));
        out.roots.push_back(std::move(root));
    }
    if (out.roots.empty()) return exchanged("the anchor " + anchor.name + " has no root");
    return out;
}

TrustStore::TrustStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
TrustStore::~TrustStore() = default;

Result<std::unique_ptr<TrustStore>> TrustStore::open(Files& files, const std::string& anchors_folder,
                                                     const std::string& state_folder) {
    auto state = std::make_unique<State>(files, state_folder);
    OSTAL_TRYV(make_directories(files, state_folder));
    const auto names = files.list_directory(anchors_folder);
    if (!names && names.error().code() != Code::kNotFound) return fail(names.error());
    for (const std::string& name : names ? *names : std::vector<std::string>{}) {
        if (!name.ends_with(kAnchorSuffix)) continue;
        auto status = state->load(anchors_folder, name);
        if (!status) state->problems.push_back(name + ": " + status.error().to_string());
    }
    return std::unique_ptr<TrustStore>(new TrustStore(std::move(state)));
}

const std::vector<std::string>& TrustStore::problems() const { return state_->problems; }

std::vector<std::string> TrustStore::anchors() const {
    const std::lock_guard lock(state_->mutex);
    std::vector<std::string> names;
    for (const auto& [name, chain] : state_->chains) names.push_back(name);
    return names;
}

Result<Root> TrustStore::newest(const std::string& anchor) const {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->chains.find(anchor);
    if (found == state_->chains.end()) return fail(Code::kNotFound, "there is no trusted anchor " + anchor);
    return found->second.back().root;
}

std::vector<AnchorRoots> TrustStore::snapshot() const {
    const std::lock_guard lock(state_->mutex);
    std::vector<AnchorRoots> out;
    for (const auto& [name, chain] : state_->chains) {
        AnchorRoots anchor{name, {}};
        for (const TrustedRoot& root : chain) anchor.roots.push_back(root.bytes);
        out.push_back(std::move(anchor));
    }
    return out;
}

Status TrustStore::advance(const std::string& anchor, ByteSpan next_root) {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->chains.find(anchor);
    if (found == state_->chains.end()) return fail(Code::kNotFound, "there is no trusted anchor " + anchor);
    Chain& chain = found->second;
    TrustedRoot next;
    next.bytes.assign(next_root.begin(), next_root.end());
    OSTAL_TRY(next.root, parse_root(next.bytes));
    if (next.root.metadata.canonical == chain.back().root.metadata.canonical) return {};
    OSTAL_TRYV(check_root_step(chain.back().root, next.root));
    if (chain.size() >= kMaxChain)
        return fail(Code::kTooLarge, "the anchor " + anchor + " has too many roots");
    OSTAL_TRYV(persist(state_->files, join_path(state_->state_folder, anchor), next));
    chain.push_back(std::move(next));
    return {};
}

}  // namespace ostal::security
