#include "engine/tokenizer/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>

namespace ostal::engine {
namespace {

using json::Value;

enum class Rule {
    kText,
    kFlag,
    kNumber,
    kPositiveNumber,
    kCount,  // an integer of at least 0
    kList,   // anything in it
    kTexts,  // a list of different texts
    kTypes,  // the name of a type, or a list of different ones
    kSchema,
    kSchemas,  // a list of at least one
    kSchemaOrSchemas,
    kSchemaMap,     // an object of schemas
    kDependencies,  // an object of schemas and lists of texts
};

struct Keyword {
    std::string_view name;
    Rule rule;
};

constexpr std::array kKeywords{Keyword{"$id", Rule::kText},
                               Keyword{"$schema", Rule::kText},
                               Keyword{"$ref", Rule::kText},
                               Keyword{"$comment", Rule::kText},
                               Keyword{"title", Rule::kText},
                               Keyword{"description", Rule::kText},
                               Keyword{"readOnly", Rule::kFlag},
                               Keyword{"examples", Rule::kList},
                               Keyword{"multipleOf", Rule::kPositiveNumber},
                               Keyword{"maximum", Rule::kNumber},
                               Keyword{"exclusiveMaximum", Rule::kNumber},
                               Keyword{"minimum", Rule::kNumber},
                               Keyword{"exclusiveMinimum", Rule::kNumber},
                               Keyword{"maxLength", Rule::kCount},
                               Keyword{"minLength", Rule::kCount},
                               Keyword{"pattern", Rule::kText},
                               Keyword{"additionalItems", Rule::kSchema},
                               Keyword{"items", Rule::kSchemaOrSchemas},
                               Keyword{"maxItems", Rule::kCount},
                               Keyword{"minItems", Rule::kCount},
                               Keyword{"uniqueItems", Rule::kFlag},
                               Keyword{"contains", Rule::kSchema},
                               Keyword{"maxProperties", Rule::kCount},
                               Keyword{"minProperties", Rule::kCount},
                               Keyword{"required", Rule::kTexts},
                               Keyword{"additionalProperties", Rule::kSchema},
                               Keyword{"definitions", Rule::kSchemaMap},
                               Keyword{"properties", Rule::kSchemaMap},
                               Keyword{"patternProperties", Rule::kSchemaMap},
                               Keyword{"dependencies", Rule::kDependencies},
                               Keyword{"propertyNames", Rule::kSchema},
                               Keyword{"enum", Rule::kList},
                               Keyword{"type", Rule::kTypes},
                               Keyword{"format", Rule::kText},
                               Keyword{"contentMediaType", Rule::kText},
                               Keyword{"contentEncoding", Rule::kText},
                               Keyword{"if", Rule::kSchema},
                               Keyword{"then", Rule::kSchema},
                               Keyword{"else", Rule::kSchema},
                               Keyword{"allOf", Rule::kSchemas},
                               Keyword{"anyOf", Rule::kSchemas},
                               Keyword{"oneOf", Rule::kSchemas},
                               Keyword{"not", Rule::kSchema}};

bool is_type_name(const Value& value) {
    constexpr std::array<std::string_view, 7> kTypes{"array",  "boolean", "integer", "null",
                                                     "number", "object",  "string"};
    return value.is_string() && std::find(kTypes.begin(), kTypes.end(), value.as_string()) != kTypes.end();
}

bool all_different(const json::Array& values) {
    std::vector<std::string_view> texts;
    for (const Value& value : values) texts.push_back(value.as_string());
    std::sort(texts.begin(), texts.end());
    return std::adjacent_find(texts.begin(), texts.end()) == texts.end();
}

bool are_texts(const Value& value) {
    if (!value.is_array()) return false;
    const json::Array& values = value.as_array();
    return std::all_of(values.begin(), values.end(), [](const Value& v) { return v.is_string(); }) &&
           all_different(values);
}

bool are_types(const Value& value) {
    if (!value.is_array()) return is_type_name(value);
    const json::Array& values = value.as_array();
    return !values.empty() && std::all_of(values.begin(), values.end(), is_type_name) &&
           all_different(values);
}

bool is_count(const Value& value) {
    return value.is_number() && value.as_double() >= 0 && std::floor(value.as_double()) == value.as_double();
}

class Checker {
public:
    Status schema(const Value& value, const std::string& path) {
        if (value.is_bool()) return {};
        if (!value.is_object()) return refuse(path, "a schema is an object or a boolean");
        for (const auto& [name, member] : value.as_object()) {
            const auto* keyword = std::find_if(kKeywords.begin(), kKeywords.end(),
                                               [&key = name](const Keyword& k) { return k.name == key; });
            if (keyword == kKeywords.end()) continue;  // others are annotations
            OSTAL_TRYV(check(keyword->rule, member, path.empty() ? name : path + "." + name));
        }
        return {};
    }

private:
    static Status refuse(const std::string& path, std::string_view why) {
        return fail(Code::kInvalidArgument, (path.empty() ? "" : path + ": ") + std::string(why));
    }
    static Status need(bool holds, const std::string& path, std::string_view why) {
        if (holds) return {};
        return refuse(path, why);
    }

    Status check(Rule rule, const Value& value, const std::string& path) {
        switch (rule) {
            case Rule::kText: return need(value.is_string(), path, "expected a string");
            case Rule::kFlag: return need(value.is_bool(), path, "expected a boolean");
            case Rule::kNumber: return need(value.is_number(), path, "expected a number");
            case Rule::kPositiveNumber:
                return need(value.is_number() && value.as_double() > 0, path, "expected a number above 0");
            case Rule::kCount: return need(is_count(value), path, "expected an integer of at least 0");
            case Rule::kList: return need(value.is_array(), path, "expected a list");
            case Rule::kTexts: return need(are_texts(value), path, "expected a list of different strings");
            case Rule::kTypes:
                return need(are_types(value), path, "expected the name of a type or a list of them");
            case Rule::kSchema: return schema(value, path);
            case Rule::kSchemas: return schemas(value, path);
            case Rule::kSchemaOrSchemas: return value.is_array() ? schemas(value, path) : schema(value, path);
            case Rule::kSchemaMap:
            case Rule::kDependencies: return schema_map(value, path, rule == Rule::kDependencies);
        }
        return {};
    }

    Status schemas(const Value& value, const std::string& path) {
        if (!value.is_array() || value.as_array().empty())
            return refuse(path, "expected a list of at least one schema");
        std::size_t index = 0;
        for (const Value& element : value.as_array())
            OSTAL_TRYV(schema(element, path + "." + std::to_string(index++)));
        return {};
    }

    Status schema_map(const Value& value, const std::string& path, bool texts_too) {
        if (!value.is_object()) return refuse(path, "expected an object");
        for (const auto& [name, member] : value.as_object()) {
            const std::string at = path + "." + name;
            if (texts_too && member.is_array()) {
                OSTAL_TRYV(need(are_texts(member), at, "expected a list of different strings"));
            } else {
                OSTAL_TRYV(schema(member, at));
            }
        }
        return {};
    }
};

}  // namespace

Status check_json_schema(const json::Value& schema) { return Checker().schema(schema, ""); }

}  // namespace ostal::engine
