#include "base/safe_text.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace ostal {
namespace {

TEST(SafeText, HarmfulCharactersBecomeVisible) {
    EXPECT_EQ(safe_text("plain \xC3\xA9\xF0\x9F\x98\x80", 64), "plain \xC3\xA9\xF0\x9F\x98\x80");
    EXPECT_EQ(safe_text("a\r\nb", 64), "a\\u{0d}\\u{0a}b");
    EXPECT_EQ(safe_text("\x1b[31mred", 64), "\\u{1b}[31mred");
    EXPECT_EQ(safe_text("\xC2\x9B"
                        "31m",
                        64),
              "\\u{9b}31m");  // C1 CSI
    EXPECT_EQ(safe_text("x\xE2\x80\xAE"
                        "cod.exe",
                        64),
              "x\\u{202e}cod.exe");  // right-to-left override
    EXPECT_EQ(safe_text("\xE2\x80\xA8|\xEF\xBB\xBF", 64), "\\u{2028}|\\u{feff}");
    EXPECT_EQ(safe_text("\xF3\xA0\x81\x81", 64), "\\u{e0041}");  // a tag character
    EXPECT_EQ(safe_text("\xEF\xBF\xBF", 64), "\\u{ffff}");
    EXPECT_EQ(safe_text("\xC3(", 64), "\\x{c3}(");
    EXPECT_EQ(safe_text("\xED\xA0\x80", 64), "\\x{ed}\\x{a0}\\x{80}");  // a surrogate
    EXPECT_EQ(safe_text("\\u{0d}", 64), "\\\\u{0d}");                   // no way to spell an escape
    EXPECT_EQ(safe_text(std::string("\0", 1), 64), "\\u{00}");
}

TEST(SafeText, LongValuesAreCutWithTheirLength) {
    EXPECT_EQ(safe_text(std::string(64, 'x'), 64), std::string(64, 'x'));
    const std::string cut = safe_text(std::string(65'536, 'x'), 64);
    EXPECT_EQ(cut.size(), 64U);
    EXPECT_TRUE(cut.ends_with("x...[65536 bytes]"));
    std::string accents;
    for (int i = 0; i < 100; ++i) accents += "\xC3\xA9";
    EXPECT_TRUE(is_valid_utf8(safe_text(accents, 64)));
    EXPECT_LE(safe_text(std::string(65'536, '\n'), 64).size(), 64U);
}

TEST(SafeText, WhatItWritesIsSafe) {
    for (int byte = 0; byte < 256; ++byte) {
        const std::string text = std::string("a") + static_cast<char>(byte) + "b";
        EXPECT_TRUE(is_safe_text(safe_text(text, 64))) << byte;
        EXPECT_EQ(is_safe_text(text), byte >= 0x20 && byte < 0x7F) << byte;
    }
    EXPECT_TRUE(is_safe_text("Zo\xC3\xAB \xF0\x9F\x98\x80"));
    EXPECT_FALSE(is_safe_text("\xE2\x80\x8B"));
}

}  // namespace
}  // namespace ostal
