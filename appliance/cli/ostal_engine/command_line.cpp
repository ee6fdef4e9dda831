#include "appliance/cli/ostal_engine/command_line.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/json.h"

namespace ostal::engine_tool {
namespace {

tl::unexpected<Error> usage(std::string message) { return fail(Code::kUsage, std::move(message)); }

template <typename T>
std::optional<T> parse_whole(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

Result<std::int64_t> parse_integer(std::string_view option, std::string_view text, std::int64_t least,
                                   std::int64_t most) {
    const auto value = parse_whole<std::int64_t>(text);
    if (!value || *value < least || *value > most) {
        return usage(std::string(option) + " is " + json::quote(text) + ", expected an integer from " +
                     std::to_string(least) + " to " + std::to_string(most));
    }
    return *value;
}

}  // namespace

Result<Arguments> Arguments::parse(const Command& command, std::span<const std::string> words) {
    Arguments out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (!word.starts_with("--")) return usage("unexpected word " + json::quote(word));
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const auto option = std::find_if(command.options.begin(), command.options.end(),
                                         [&](const Option& known) { return known.name == name; });
        if (option == command.options.end()) return usage("unknown option " + json::quote(name));
        std::string value;
        if (option->value.empty()) {
            if (equals != std::string::npos) return usage(name + " takes no value");
        } else if (equals != std::string::npos) {
            value = word.substr(equals + 1);
        } else if (i + 1 < words.size()) {
            value = words[++i];
        } else {
            return usage(name + " needs a value: " + name + " " + std::string(option->value));
        }
        auto& values = out.values_[name];
        if (!values.empty() && !option->repeatable) return usage(name + " is given twice");
        values.push_back(std::move(value));
    }
    return out;
}

std::optional<std::string> Arguments::text(std::string_view option) const {
    const auto found = values_.find(option);
    return found == values_.end() ? std::nullopt : std::optional(found->second.front());
}
std::vector<std::string> Arguments::texts(std::string_view option) const {
    const auto found = values_.find(option);
    return found == values_.end() ? std::vector<std::string>() : found->second;
}
Result<std::string> Arguments::required(std::string_view option) const {
    const auto value = text(option);
    if (!value || value->empty()) return usage(std::string(option) + " is missing");
    return *value;
}

Result<std::int64_t> Arguments::integer(std::string_view option, std::int64_t least, std::int64_t most,
                                        std::int64_t otherwise) const {
    const auto value = text(option);
    if (!value) return otherwise;
    return parse_integer(option, *value, least, most);
}

Result<double> Arguments::number(std::string_view option, double least, double most, double otherwise) const {
    const auto given = text(option);
    if (!given) return otherwise;
    const auto value = parse_whole<double>(*given);
    if (!value || !(*value >= least) || !(*value <= most)) {
        return usage(std::string(option) + " is " + json::quote(*given) + ", expected a number from " +
                     json::to_string(json::Value(least)) + " to " + json::to_string(json::Value(most)));
    }
    return *value;
}

Result<std::vector<std::int64_t>> Arguments::integers(std::string_view option, std::int64_t least,
                                                      std::int64_t most) const {
    OSTAL_TRY(const std::string list, required(option));
    std::vector<std::int64_t> out;
    for (std::size_t at = 0; at <= list.size();) {
        const std::size_t comma = std::min(list.find(',', at), list.size());
        OSTAL_TRY(const std::int64_t value, parse_integer("a value of " + std::string(option),
                                                          list.substr(at, comma - at), least, most));
        out.push_back(value);
        at = comma + 1;
    }
    return out;
}

std::string help_of(const Command& command) {
    std::string out = "ostal-engine " + std::string(command.name) + ": " + std::string(command.summary) +
                      "\n\n  ostal-engine " + std::string(command.name) + " " + std::string(command.usage) +
                      "\n\n";
    constexpr std::size_t kColumn = 26;
    for (const Option& option : command.options) {
        std::string line = "  " + std::string(option.name);
        if (!option.value.empty()) line += " " + std::string(option.value);
        line.resize(std::max(line.size() + 2, kColumn), ' ');
        out += line + std::string(option.help) + "\n";
    }
    return out + "\n" + std::string(command.details) + "\n";
}

}  // namespace ostal::engine_tool
