// Command-line words: --name VALUE or --name=VALUE, -o VALUE, flags, and words that stand alone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ostal::bundle {

class Options {
public:
    // `known` lists the options that a command takes, each with a value. kUsage for any other, for a missing
    // value and for a word too many.
    static Result<Options> parse(const std::vector<std::string>& words,
                                 const std::vector<std::string_view>& known, std::size_t most_words);

    const std::vector<std::string>& words() const { return words_; }
    std::vector<std::string> all(std::string_view name) const;
    // kUsage when it is given twice.
    Result<std::optional<std::string>> one(std::string_view name) const;
    // kUsage when it is missing or given twice.
    Result<std::string> required(std::string_view name) const;
    Result<std::optional<std::uint64_t>> number(std::string_view name) const;

private:
    std::vector<std::string> words_;
    std::multimap<std::string, std::string, std::less<>> values_;
};

}  // namespace ostal::bundle
