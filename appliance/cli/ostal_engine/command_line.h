// Words of ostal-engine's command line, checked against the options of a command, and its help.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ostal::engine_tool {

struct Option {
    std::string_view name;   // "--top"
    std::string_view value;  // what stands in the help for its value, "K"; empty: a flag
    std::string_view help;
    bool repeatable = false;
};

struct Command {
    std::string_view name;
    std::string_view summary;  // one line
    std::string_view usage;    // what follows "ostal-engine NAME "
    std::string_view details;  // input, output, exit codes; paragraphs
    std::vector<Option> options;
};

// The options that were given. All errors are kUsage.
class Arguments {
public:
    // --name VALUE, --name=VALUE, flags; each once but for repeatable ones; no other words.
    static Result<Arguments> parse(const Command& command, std::span<const std::string> words);

    bool has(std::string_view option) const { return values_.contains(option); }
    std::optional<std::string> text(std::string_view option) const;
    std::vector<std::string> texts(std::string_view option) const;
    Result<std::string> required(std::string_view option) const;
    // An integer from `least` to `most`; `otherwise` when it is not given.
    Result<std::int64_t> integer(std::string_view option, std::int64_t least, std::int64_t most,
                                 std::int64_t otherwise) const;
    Result<double> number(std::string_view option, double least, double most, double otherwise) const;
    // "1,2,3": at least one integer from `least` to `most`.
    Result<std::vector<std::int64_t>> integers(std::string_view option, std::int64_t least,
                                               std::int64_t most) const;

private:
    std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

std::string help_of(const Command& command);

}  // namespace ostal::engine_tool
