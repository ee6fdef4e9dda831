// The verbs of ostalctl: which words, options and secrets each takes, and how its answer is shown.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "appliance/cli/ostalctl/arguments.h"
#include "appliance/control/channel.h"
#include "base/json.h"
#include "base/result.h"

namespace ostal::ctl {

// What goes to the daemon: {"verb", "args", "as"?, "password"?} and opened files.
struct Request {
    json::Object args;
    std::vector<Descriptor> descriptors;
};

struct Command {
    std::string verb;      // "key create"
    std::string words;     // positional arguments for the help: "NAME VERSION"
    std::string help;
    std::vector<std::string> columns;  // of a list; empty: shown as key: value lines
    // Makes the request from arguments (words after the verb are `rest`); reads secrets and opens files.
    std::function<Result<Request>(const Arguments& arguments, const std::vector<std::string>& rest)> prepare;
};

const std::vector<Command>& commands();

}  // namespace ostal::ctl
