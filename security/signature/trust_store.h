// Whom this appliance trusts to sign: anchors and the newest root each has led to.
//
// An anchor is a file <name>.root.json that an administrator (or a package) put into trust.d. Its name is its
// identity: the first root seen under it starts a chain that is kept, root by root, under
// <state>/<name>/<N>.root.json. Later the anchor file may stay, or be replaced by any root of that chain or
// by the next one; another root under the same name is refused, and so is everything it signed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "security/signature/verifier.h"

namespace ostal::security {

// The root files of one anchor, oldest first.
struct AnchorRoots {
    std::string name;
    std::vector<Bytes> roots;
};
// Parsed again. kIntegrity.
Result<AnchorChain> parse_anchor(const AnchorRoots& anchor);

// Thread-safe.
class TrustStore {
public:
    // Reads the anchors and their chains; records new anchors. A broken or exchanged anchor is left out and
    // listed in problems(); only an unreadable folder is an error. An absent anchors folder has no anchors.
    static Result<std::unique_ptr<TrustStore>> open(Files& files, const std::string& anchors_folder,
                                                    const std::string& state_folder);
    ~TrustStore();
    TrustStore(const TrustStore&) = delete;
    TrustStore& operator=(const TrustStore&) = delete;

    // "vendor.root.json: ..." one line each, for the log and `ostalctl doctor`.
    const std::vector<std::string>& problems() const;
    // Names of usable anchors, sorted.
    std::vector<std::string> anchors() const;
    // The newest trusted root. kNotFound for an unknown anchor.
    Result<Root> newest(const std::string& anchor) const;
    // Every usable anchor with its chain, sorted by name, as read (a verify worker gets these).
    std::vector<AnchorRoots> snapshot() const;

    // Takes the next root (exactly N+1, thresholds of N and N+1) and makes it durable before it counts. The
    // newest root itself, again, is no error.
    Status advance(const std::string& anchor, ByteSpan next_root);

private:
    struct State;
    explicit TrustStore(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace ostal::security
