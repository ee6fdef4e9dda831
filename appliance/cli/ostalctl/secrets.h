// Secrets typed or piped in: never on the command line, where every user of the machine sees them.
#pragma once

#include <string>

#include "base/result.h"

namespace ostal::ctl {

// One line from standard input. On a terminal it asks with `prompt` on stderr and does not echo. kUsage when the
// input ends before.
Result<std::string> read_secret(const std::string& prompt);

}  // namespace ostal::ctl
