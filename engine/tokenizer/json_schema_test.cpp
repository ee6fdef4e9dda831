#include "engine/tokenizer/json_schema.h"

#include <gtest/gtest.h>

namespace ostal::engine {
namespace {

std::string verdict(std::string_view text) {
    const auto value = json::parse(text);
    EXPECT_TRUE(value.has_value()) << text;
    const Status status = check_json_schema(*value);
    return status ? "" : status.error().message().substr(0, status.error().message().find(':'));
}

TEST(JsonSchema, AcceptsSchemasOfRealTools) {
    EXPECT_EQ(verdict("{}"), "");
    EXPECT_EQ(verdict("true"), "");
    EXPECT_EQ(
        verdict(
            R"({"type": "object", "properties": {"city": {"type": ["string", "null"], "enum": ["a", 1, null]},
                      "n": {"type": "integer", "minimum": 0, "maximum": 9.5, "multipleOf": 0.5, "default": {"x": 1}},
                      "list": {"type": "array", "items": [{"$ref": "#/$defs/x"}, true], "minItems": 1, "maxItems": 2.0}},
                      "required": ["city"], "additionalProperties": false, "$defs": {"x": 1}, "x-vendor": [],
                      "anyOf": [{"required": ["n"]}], "dependencies": {"a": ["b"], "c": {"type": "null"}}})"),
        "");
}

TEST(JsonSchema, NamesThePlaceOfWhatIsNone) {
    EXPECT_EQ(verdict(R"({"type": "strin"})"), "type");
    EXPECT_EQ(verdict(R"({"type": []})"), "type");
    EXPECT_EQ(verdict(R"({"type": ["null", "null"]})"), "type");
    EXPECT_EQ(verdict(R"({"properties": {"a": {"type": 5}}})"), "properties.a.type");
    EXPECT_EQ(verdict(R"({"properties": []})"), "properties");
    EXPECT_EQ(verdict(R"({"required": ["a", "a"]})"), "required");
    EXPECT_EQ(verdict(R"({"required": true})"), "required");
    EXPECT_EQ(verdict(R"({"minLength": -1})"), "minLength");
    EXPECT_EQ(verdict(R"({"minItems": 1.5})"), "minItems");
    EXPECT_EQ(verdict(R"({"multipleOf": 0})"), "multipleOf");
    EXPECT_EQ(verdict(R"({"enum": 1})"), "enum");
    EXPECT_EQ(verdict(R"({"items": 1})"), "items");
    EXPECT_EQ(verdict(R"({"anyOf": []})"), "anyOf");
    EXPECT_EQ(verdict(R"({"allOf": [{"not": 1}]})"), "allOf.0.not");
    EXPECT_EQ(verdict(R"({"dependencies": {"a": [1]}})"), "dependencies.a");
    EXPECT_EQ(verdict(R"({"uniqueItems": "yes"})"), "uniqueItems");
    EXPECT_EQ(verdict(R"({"description": null})"), "description");
    EXPECT_EQ(verdict("1"), "a schema is an object or a boolean");
}

}  // namespace
}  // namespace ostal::engine
