// The medium with a signed bundle: its files opened by ostalctl and passed to the daemon as descriptors.
#pragma once

#include <string>
#include <vector>

#include "appliance/control/channel.h"
#include "base/result.h"

namespace ostal::ctl {

struct MediumFile {
    std::string path;  // relative to the medium: "metadata/1.root.json"
    Descriptor descriptor;
};

// Every file below metadata/ and targets/, sorted. No symbolic link is followed and only regular files are
// taken: anything else is kInvalidArgument and names it. kTooLarge above Channel::kMaxDescriptors files.
Result<std::vector<MediumFile>> open_medium(const std::string& folder);

}  // namespace ostal::ctl
