// Making the first root of an anchor, and the roots that follow it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "appliance/cli/ostal_bundle/repository.h"
#include "base/clock.h"
#include "base/result.h"

namespace ostal::bundle {

struct RootOptions {
    Keys keys;  // that sign
    std::optional<Bytes>
        previous;  // the root before; its keys and thresholds stay where nothing else is said
    // By role: who holds it. Unsaid in a first root: the signing keys.
    std::array<std::optional<std::vector<security::Ed25519PublicKey>>, 4> holders;
    std::array<std::optional<std::uint32_t>, 4> thresholds;
    std::optional<std::int64_t> expires_us;
};

struct RootReport {
    Bytes file;
    security::Root root;
    bool is_complete = false;  // signed by as many keys as it asks for, and as the one before asks for
    std::string missing;       // what is missing, in words
};

// kInvalidArgument: no keys, or a threshold above the number of keys.
Result<RootReport> make_root(const Clock& clock, const RootOptions& options);
// Whether a root is complete, given the one before (if it is not the first).
RootReport judge_root(Bytes file, const security::Root& root, const std::optional<security::Root>& previous);

}  // namespace ostal::bundle
