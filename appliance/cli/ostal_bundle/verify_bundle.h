// Checking a bundle as an appliance would at its first import, every byte of it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "appliance/model_store/content.h"
#include "appliance/model_store/verify.h"
#include "base/result.h"

namespace ostal::bundle {

struct BundleCheck {
    VerifiedBundle bundle;
    std::vector<PresentVersion> versions;
};

// Errors: as in import.h, steps 1 to 4.
Result<BundleCheck> check_bundle(const std::string& folder, const TrustView& trust,
                                 const std::function<void(const std::string& file)>& on_file);

}  // namespace ostal::bundle
