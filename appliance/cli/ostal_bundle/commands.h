// The words of ostal-bundle and what they do.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/result.h"

namespace ostal::bundle {

struct Terminal {
    std::ostream& out;
    std::ostream& err;
};

struct CommandSeams {
    Files& files;
    const Clock& clock;
    RandomSource& random;
};

// Runs one command; the exit code: 0 ok, 1 failed, 2 usage, 7 integrity. Results go to `out` (text, or JSON
// with
// `-o json`), errors and progress to `err`.
int run_command(const std::vector<std::string>& words, const CommandSeams& seams, const Terminal& terminal);

}  // namespace ostal::bundle
