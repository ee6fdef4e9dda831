#include "appliance/cli/ostal_bundle/options.h"

#include <algorithm>
#include <charconv>

namespace ostal::bundle {

Result<Options> Options::parse(const std::vector<std::string>& words,
                               const std::vector<std::string_view>& known, std::size_t most_words) {
    Options out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word.size() < 2 || word[0] != '-') {
            out.words_.push_back(word);
            continue;
        }
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        if (std::find(known.begin(), known.end(), name) == known.end())
            return fail(Code::kUsage, "unknown option " + name);
        if (equals != std::string::npos) {
            out.values_.emplace(name, word.substr(equals + 1));
        } else if (i + 1 < words.size()) {
            out.values_.emplace(name, words[++i]);
        } else {
            return fail(Code::kUsage, name + " needs a value");
        }
    }
    if (out.words_.size() > most_words)
        return fail(Code::kUsage, "unexpected word " + out.words_[most_words]);
    return out;
}

std::vector<std::string> Options::all(std::string_view name) const {
    std::vector<std::string> out;
    for (auto [it, end] = values_.equal_range(name); it != end; ++it) out.push_back(it->second);
    return out;
}

Result<std::optional<std::string>> Options::one(std::string_view name) const {
    const auto values = all(name);
    if (values.size() > 1) return fail(Code::kUsage, std::string(name) + " is given twice");
    return values.empty() ? std::optional<std::string>() : std::optional<std::string>(values[0]);
}

Result<std::string> Options::required(std::string_view name) const {
    OSTAL_TRY(const auto value, one(name));
    if (!value || value->empty()) return fail(Code::kUsage, std::string(name) + " is missing");
    return *value;
}

Result<std::optional<std::uint64_t>> Options::number(std::string_view name) const {
    OSTAL_TRY(const auto text, one(name));
    if (!text) return std::optional<std::uint64_t>();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size()) {
        return fail(Code::kUsage, std::string(name) + " is a number, found " + *text);
    }
    return std::optional<std::uint64_t>(value);
}

}  // namespace ostal::bundle
