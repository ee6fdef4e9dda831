#include "engine/tokenizer/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace ostal::engine {
namespace {

struct Outcome {
    std::string text;
    bool stopped = false;
    bool operator==(const Outcome&) const = default;
};

Outcome run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
    StopMatcher matcher(stops);
    Outcome out;
    for (const std::string& piece : pieces) out.text += matcher.push(piece);
    out.stopped = matcher.stopped();
    if (!out.stopped) out.text += matcher.flush();
    return out;
}

TEST(StopMatcher, EndsTheTextBeforeTheStopString) {
    EXPECT_EQ(run({"END"}, {"one END two"}), (Outcome{"one ", true}));
    EXPECT_EQ(run({"END"}, {"one E", "N", "D two"}), (Outcome{"one ", true}));
    EXPECT_EQ(run({"END"}, {"one EN", "x"}), (Outcome{"one ENx", false}));
    EXPECT_EQ(run({"END"}, {"one EN"}), (Outcome{"one EN", false}));
    EXPECT_EQ(run({}, {"one", " two"}), (Outcome{"one two", false}));
    EXPECT_EQ(run({""}, {"one"}), (Outcome{"one", false}));
}

TEST(StopMatcher, HoldsBackWhatCouldBeginAStopString) {
    StopMatcher matcher({"\n\nUser:", "###"});
    EXPECT_EQ(matcher.push("text\n"), "text");
    EXPECT_EQ(matcher.push("\nUse"), "");
    EXPECT_EQ(matcher.push("less #"), "\n\nUseless ");
    EXPECT_EQ(matcher.push(""), "");
    EXPECT_EQ(matcher.push("#"), "");
    EXPECT_EQ(matcher.push("!"), "##!");
    EXPECT_FALSE(matcher.stopped());
    EXPECT_EQ(matcher.push("a###b"), "a");
    EXPECT_TRUE(matcher.stopped());
    EXPECT_EQ(matcher.push("more"), "");
    EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, OverlappingBeginningsAreNotMissed) {
    EXPECT_EQ(run({"aab"}, {"aaab"}), (Outcome{"a", true}));
    EXPECT_EQ(run({"abab!"}, {"ababab!"}), (Outcome{"ab", true}));
    EXPECT_EQ(run({"bc", "abcd"}, {"xabcd"}), (Outcome{"xa", true}));  // bc is whole first
    EXPECT_EQ(run({"c", "abc"}, {"xabc"}), (Outcome{"x", true}));      // both end here, the longer counts
}

// The first end, then the longest of the strings that end there.
Outcome naive(const std::vector<std::string>& stops, const std::string& text) {
    for (std::size_t end = 1; end <= text.size(); ++end) {
        std::size_t longest = 0;
        for (const std::string& stop : stops) {
            if (!stop.empty() && text.substr(0, end).ends_with(stop))
                longest = std::max(longest, stop.size());
        }
        if (longest > 0) return {text.substr(0, end - longest), true};
    }
    return {text, false};
}

TEST(StopMatcher, TheResultDoesNotDependOnHowTheTextIsCut) {
    SeededRandom random(7);
    const auto letters = [&](std::size_t length) {
        std::string out;
        while (out.size() < length) out += static_cast<char>('a' + random.below(2));
        return out;
    };
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::string> stops(1 + random.below(3));
        for (std::string& stop : stops) stop = letters(1 + random.below(6));
        const std::string text = letters(random.below(20));
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t size = 1 + random.below(5);
            pieces.push_back(text.substr(at, size));
            at += size;
        }
        ASSERT_EQ(run(stops, pieces), naive(stops, text)) << text;
        // Nothing that was let out may have to be taken back, and no more is held than could begin a stop
        // string.
        StopMatcher matcher(stops);
        std::string out;
        std::string seen;
        for (const std::string& piece : pieces) {
            out += matcher.push(piece);
            seen += piece;
            if (matcher.stopped()) break;
            const std::string held = seen.substr(out.size());
            ASSERT_TRUE(held.empty() || std::any_of(stops.begin(), stops.end(), [&](const std::string& s) {
                            return s.starts_with(held);
                        }));
        }
    }
}

}  // namespace
}  // namespace ostal::engine
