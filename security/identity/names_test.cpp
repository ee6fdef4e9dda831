#include "security/identity/names.h"
#include "security/signature/names.h"

#include <gtest/gtest.h>

namespace ostal::security {
namespace {

TEST(Names, OrdinaryNamesPass) {
    for (const char* name : {"a", "Ada Lovelace", "jan-peter.o", "Zo\xC3\xAB",
                             "\xD0\x98\xD0\xB2\xD0\xB0\xD0\xBD", "\xE6\x9D\x8E", "x@example.org"}) {
        EXPECT_TRUE(check_name(name)) << name;
    }
    EXPECT_TRUE(check_name(std::string(64, 'x')));
}

TEST(Names, WhatCouldDeceiveDoesNot) {
    const std::vector<std::string> refused = {"",
                                              " a",
                                              "a ",
                                              "a  b",
                                              "a\tb",
                                              "a\nb",
                                              "a\rb",
                                              std::string("a\0b", 3),
                                              "\x1b[31m",
                                              "a\x7F",
                                              "e\xCC\x81",  // e + combining acute: the decomposed spelling
                                              "a\xE2\x80\x8B"
                                              "b",  // zero-width space
                                              "a\xE2\x80\xAE"
                                              "b",  // right-to-left override
                                              "a\xC2\xA0"
                                              "b",  // no-break space
                                              "a\xE3\x80\x80"
                                              "b",  // ideographic space
                                              "\xEF\xBB\xBF"
                                              "a",  // byte order mark
                                              "\xFF",
                                              "\xC0\xAF",
                                              "<b>",
                                              "a\"b",
                                              "a'b",
                                              "a\\b",
                                              "a&b",
                                              std::string(65, 'x'),
                                              std::string(65'536, 'x')};
    for (const std::string& name : refused) {
        const auto status = check_name(name);
        ASSERT_FALSE(status) << name;
        EXPECT_EQ(status.error().code(), Code::kUnprocessable);
    }
}

TEST(Names, AreComparedWithoutAsciiCase) {
    EXPECT_EQ(name_key("Ada"), name_key("aDA"));
    EXPECT_NE(name_key("Ada"), name_key("Eda"));
}

TEST(Names, ModelNames) {
    for (const char* name : {"ostal-mini", "m", "0.1_x", "mixtral-8x7b-instruct-v0.1"}) {
        EXPECT_TRUE(is_model_name(name)) << name;
    }
    for (const char* name : {"", "-a", ".a", "A", "a/b", "a b", "a\n", ".."})
        EXPECT_FALSE(is_model_name(name)) << name;
    EXPECT_FALSE(is_model_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace ostal::security
