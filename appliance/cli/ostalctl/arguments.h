// Command-line words of ostalctl: options before or after the verb, values by --name VALUE or --name=VALUE.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"

namespace ostal::ctl {

struct Arguments {
    std::vector<std::string> words;                          // noun, verb, positional arguments
    std::map<std::string, std::vector<std::string>> options; // "--user" -> values in order; flags have one ""

    bool has(const std::string& option) const { return options.contains(option); }
    // The last value, or nothing.
    std::optional<std::string> value(const std::string& option) const;
    std::vector<std::string> values(const std::string& option) const;
};

// `flags` take no value, `valued` take one; anything else that begins with '-' is kUsage.
Result<Arguments> parse_arguments(const std::vector<std::string>& words, const std::set<std::string>& flags,
                                  const std::set<std::string>& valued);

}  // namespace ostal::ctl
