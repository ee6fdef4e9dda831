#include "appliance/cli/ostalctl/arguments.h"

namespace ostal::ctl {

std::optional<std::string> Arguments::value(const std::string& option) const {
    const auto it = options.find(option);
    if (it == options.end() || it->second.empty()) return std::nullopt;
    return it->second.back();
}

std::vector<std::string> Arguments::values(const std::string& option) const {
    const auto it = options.find(option);
    return it == options.end() ? std::vector<std::string>{} : it->second;
}

Result<Arguments> parse_arguments(const std::vector<std::string>& words, const std::set<std::string>& flags,
                                  const std::set<std::string>& valued) {
    Arguments out;
    bool only_words = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (only_words || word.size() < 2 || word[0] != '-') {
            out.words.push_back(word);
            continue;
        }
        if (word == "--") {
            only_words = true;
            continue;
        }
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        if (flags.contains(name)) {
            if (equals != std::string::npos) return fail(Code::kUsage, name + " takes no value");
            out.options[name].emplace_back();
        } else if (valued.contains(name)) {
            if (equals != std::string::npos) {
                out.options[name].push_back(word.substr(equals + 1));
            } else if (i + 1 < words.size()) {
                out.options[name].push_back(words[++i]);
            } else {
                return fail(Code::kUsage, name + " needs a value");
            }
        } else {
            return fail(Code::kUsage, "unknown option " + name);
        }
    }
    return out;
}

}  // namespace ostal::ctl
