// Stop strings over streamed text: lets nothing out that could begin one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ostal::engine {

// The text ends before the stop string whose last byte comes first; of those that end at the same byte the
// longest counts. The result does not depend on how the text was cut into pieces. Time is linear in text
// times stop strings. Not thread-safe.
class StopMatcher {
public:
    // Empty strings among `stops` are ignored.
    explicit StopMatcher(std::vector<std::string> stops);

    // Takes the next piece of text and appends to `out` what is certain to lie before any stop string. After
    // a match everything later is ignored. Allocates for `out` alone, once as much text has been held back
    // before.
    void push(std::string_view text, std::string& out);
    std::string push(std::string_view text);
    // The end came without a stop string: what was held back.
    std::string flush();
    bool stopped() const { return stopped_; }

private:
    struct Pattern {
        std::string text;
        std::vector<std::size_t> failure;  // Knuth-Morris-Pratt
        std::size_t matched = 0;           // longest prefix that is a suffix of the text so far
    };
    std::vector<Pattern> patterns_;
    std::string held_;
    bool stopped_ = false;
};

}  // namespace ostal::engine
