// Typed, bounded reading of the members of a configuration file (config.json, params.json), and the relations
// that hold between the fields of a model whatever file they came from.
//
// Every error names the member, its value and what was expected: kInvalidArgument for a value that is none,
// kUnsupported for one that this build does not compute.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/io/model_config.h"

namespace ostal::engine::config {

inline constexpr std::size_t kMaxConfigBytes = 1 << 20;

tl::unexpected<Error> malformed(std::string message);
tl::unexpected<Error> unsupported(std::string message);
// A value for a message, cut after 80 bytes.
std::string value_text(const json::Value& value);

// The whole text as an object; kTooLarge above kMaxConfigBytes.
Result<json::Value> parse_object(std::string_view text);

// The members of one object. `path` stands in front of their names in errors, e.g. "yarn.".
class Fields {
public:
    explicit Fields(const json::Object& object, std::string path = {})
        : object_(object), path_(std::move(path)) {}

    std::string name(std::string_view key) const { return path_ + std::string(key); }
    const json::Object& object() const { return object_; }
    // A present member that is not null.
    const json::Value* given(std::string_view key) const;

    // An integer from 1 to `most`; `otherwise` where it is not given, an error where there is none.
    Result<std::int32_t> size(std::string_view key, std::int64_t most,
                              std::optional<std::int32_t> otherwise = std::nullopt) const;
    Result<double> number(std::string_view key, double least, double most,
                          std::optional<double> otherwise = std::nullopt) const;
    Result<bool> boolean(std::string_view key, bool otherwise) const;
    // An id, a list of at most 16 ids, or null.
    Result<std::vector<TokenId>> ids(std::string_view key) const;
    // The members of an object; nothing where it is not given.
    Result<std::optional<Fields>> fields(std::string_view key) const;
    // kUnsupported when `key` is given with another value than `neutral`, the one that leaves the computation
    // as it is.
    Status only(std::string_view key, const json::Value& neutral) const;
    // kUnsupported names the first member, unless it is null, that is not among `known`.
    Status refuse_others(std::initializer_list<std::string_view> known) const;

private:
    const json::Object& object_;
    std::string path_;
};

// What a file format calls the fields that check_consistent() compares.
struct FieldNames {
    std::string_view heads;
    std::string_view kv_heads;
    std::string_view head_dim;
    std::string_view experts;
    std::string_view experts_per_token;
};
// heads is a multiple of kv_heads, head_dim is even, experts_per_token <= experts.
Status check_consistent(const ModelConfig& config, const FieldNames& names);
// bos and eos are below the size of the vocabulary.
Status check_ids(const ModelConfig& config);
// The window of every layer: 0 where it hides nothing of the context; no windows at all where none does.
void set_windows(ModelConfig& config, std::vector<std::int32_t> windows);

}  // namespace ostal::engine::config
