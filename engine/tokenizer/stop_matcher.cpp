#include "engine/tokenizer/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace ostal::engine {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
    for (std::string& text : stops) {
        if (text.empty()) continue;
        Pattern pattern{std::move(text), {}, 0};
        pattern.failure.assign(pattern.text.size(), 0);
        for (std::size_t i = 1, length = 0; i < pattern.text.size(); ++i) {
            while (length > 0 && pattern.text[i] != pattern.text[length])
                length = pattern.failure[length - 1];
            if (pattern.text[i] == pattern.text[length]) ++length;
            pattern.failure[i] = length;
        }
        patterns_.push_back(std::move(pattern));
    }
}

std::string StopMatcher::push(std::string_view text) {
    std::string out;
    push(text, out);
    return out;
}

void StopMatcher::push(std::string_view text, std::string& out) {
    if (stopped_) return;
    if (patterns_.empty()) {
        out += text;
        return;
    }
    std::size_t begun = 0;  // bytes at the end that could begin a stop string
    for (std::size_t at = 0; at < text.size(); ++at) {
        begun = 0;
        std::size_t found = 0;
        for (Pattern& pattern : patterns_) {
            while (pattern.matched > 0 && pattern.text[pattern.matched] != text[at]) {
                pattern.matched = pattern.failure[pattern.matched - 1];
            }
            if (pattern.text[pattern.matched] == text[at]) ++pattern.matched;
            if (pattern.matched == pattern.text.size()) found = std::max(found, pattern.matched);
            begun = std::max(begun, pattern.matched);
        }
        if (found > 0) {
            stopped_ = true;
            held_ += text.substr(0, at + 1);
            held_.resize(held_.size() - found);
            out += held_;
            held_.clear();
            return;
        }
    }
    if (text.empty()) return;
    held_ += text;
    const std::size_t certain = held_.size() - begun;
    out.append(held_, 0, certain);
    held_.erase(0, certain);
}

std::string StopMatcher::flush() {
    for (Pattern& pattern : patterns_) pattern.matched = 0;
    return std::exchange(held_, {});
}

}  // namespace ostal::engine
