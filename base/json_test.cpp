#include "base/json.h"

#include <gtest/gtest.h>

namespace ostal::json {
namespace {

TEST(Json, ReadsOrderedObjectsAndExactIntegers) {
    const Value value = parse(R"({"b":1,"a":[true,null,-9223372036854775808,18446744073709551615,2.50]})").value();
    EXPECT_EQ(to_string(value), R"({"b":1,"a":[true,null,-9223372036854775808,18446744073709551615,2.5]})");
    EXPECT_EQ(value.find("a")->as_array()[2].to_int64().value(), INT64_MIN);
    EXPECT_EQ(value.find("a")->as_array()[3].to_uint64().value(), UINT64_MAX);
    EXPECT_FALSE(value.find("a")->as_array()[3].to_int64());
}

TEST(Json, RefusesWhatIsAmbiguousOrBroken) {
    for (const std::string text :
         {R"({"a":1,"a":2})", R"({"a":{"x":1,"x":1}})", "18446744073709551616", "-9223372036854775809", "1e999",
          "\"\xff\"", R"("\ud800")", "[1,]", "{\"a\"}", "", " ", "[1] x", "nul", "[1", "\"a", "01", "NaN"}) {
        const auto value = parse(text);
        ASSERT_FALSE(value) << text;
        EXPECT_EQ(value.error().code(), Code::kInvalidArgument) << text;
    }
}

TEST(Json, DepthAndSizeAreLimited) {
    EXPECT_TRUE(parse(std::string(64, '[') + std::string(64, ']')));
    EXPECT_FALSE(parse(std::string(65, '[') + std::string(65, ']')));
    EXPECT_FALSE(parse(std::string(50000, '[')));
    EXPECT_EQ(parse("[1,2,3]", {.max_bytes = 4}).error().code(), Code::kTooLarge);
    EXPECT_FALSE(parse("[1.0]", {.integers_only = true}));
    EXPECT_TRUE(parse("[10]", {.integers_only = true}));
}

TEST(Json, AllPrefixesOfADocumentFail) {
    const std::string text = R"({"k":[1,2.5e3,"a\u00e9\n",{"x":null}],"t":true})";
    ASSERT_TRUE(parse(text));
    for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(parse(text.substr(0, n))) << n;
}

TEST(Json, PythonStyle) {
    const Value value = parse(R"({"a":[1,2.50,1e16,1.5e-7,0.0001,100.0],"s":"é\"\u0001\u007f"})").value();
    EXPECT_EQ(to_python_string(value),
              "{\"a\": [1, 2.5, 1e+16, 1.5e-07, 0.0001, 100.0], \"s\": \"é\\\"\\u0001\x7f\"}");
}

TEST(Json, JcsSortsByUtf16) {
    // RFC 8785 section 3.2.3 example keys.
    const Value value = parse(R"({"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7})").value();
    EXPECT_EQ(to_jcs(value), "{\"\\r\":2,\"1\":4,\"\xC2\x80\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\xEF\xAC\xB3\":3}");
}

TEST(Json, OlpcEscapesOnlyQuoteAndBackslash) {
    const Value value = parse(R"({"b":"line\nend \"q\" \\","a":true})").value();
    EXPECT_EQ(to_olpc(value), "{\"a\":true,\"b\":\"line\nend \\\"q\\\" \\\\\"}");
}

TEST(Json, DoublesReadBackExactly) {
    for (const double d : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.7}) {
        EXPECT_EQ(parse(to_string(Value(d)))->as_double(), d);
    }
    EXPECT_EQ(parse("0.1234567890123456789")->as_double(), 0.1234567890123456789);
}

TEST(Json, DoublesBeyondTheIntegersAreNotWrittenAsSuch) {
    for (const double value : {9223372036854775808.0, -9223372036854775808.0, 1111118447647305e5, -1.5e19, 2e19}) {
        const auto again = parse(to_string(value));
        ASSERT_TRUE(again) << to_string(value);
        EXPECT_TRUE(again->is_double()) << to_string(value);
        EXPECT_EQ(again->as_double(), value);
    }
}

TEST(Json, LongStringsAndNumbersCrossParserBuffers) {
    const std::string text(100000, 'x');
    EXPECT_EQ(parse(quote(text))->as_string(), text);
    EXPECT_EQ(parse("0." + std::string(5000, '1'))->as_double(), 1.0 / 9);
}

TEST(Json, TypedAccessNamesTheMember) {
    const Value value = parse(R"({"n":"x"})").value();
    const auto number = int_member(value.as_object(), "n");
    ASSERT_FALSE(number);
    EXPECT_NE(number.error().to_string().find("n"), std::string::npos);
    EXPECT_FALSE(string_member(value.as_object(), "missing"));
}

TEST(Json, EqualityIgnoresMemberOrder) {
    EXPECT_TRUE(*parse(R"({"a":1,"b":[2]})") == *parse(R"({"b":[2],"a":1})"));
    EXPECT_FALSE(*parse(R"({"a":1})") == *parse(R"({"a":1.0})"));
}

}  // namespace
}  // namespace ostal::json
