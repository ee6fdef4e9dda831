#include "engine/io/config_fields.h"

#include <algorithm>

#include "engine/io/model_limits.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine::config {
namespace {

constexpr std::size_t kMaxIds = 16;

}  // namespace

tl::unexpected<Error> malformed(std::string message) {
    return fail(Code::kInvalidArgument, std::move(message));
}
tl::unexpected<Error> unsupported(std::string message) {
    return fail(Code::kUnsupported, std::move(message));
}

std::string value_text(const json::Value& value) {
    const std::string text = json::to_string(value);
    return text.size() <= 80 ? text : text.substr(0, utf8_complete_prefix(text.substr(0, 80))) + "...";
}

Result<json::Value> parse_object(std::string_view text) {
    OSTAL_TRY(json::Value value, json::parse(text, {.max_depth = 64, .max_bytes = kMaxConfigBytes}));
    if (!value.is_object())
        return malformed("expected a JSON object, found a value of type " + std::string(value.type_name()));
    return value;
}

const json::Value* Fields::given(std::string_view key) const {
    const json::Value* value = object_.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::int32_t> Fields::size(std::string_view key, std::int64_t most,
                                  std::optional<std::int32_t> otherwise) const {
    const json::Value* value = given(key);
    if (value == nullptr && otherwise) return *otherwise;
    const std::string expected = ", expected an integer from 1 to " + std::to_string(most);
    if (value == nullptr) return malformed(name(key) + " is missing" + expected);
    const auto integer = value->to_int64();
    if (!integer || *integer < 1 || *integer > most)
        return malformed(name(key) + " is " + value_text(*value) + expected);
    return static_cast<std::int32_t>(*integer);
}

Result<double> Fields::number(std::string_view key, double least, double most,
                              std::optional<double> otherwise) const {
    const json::Value* value = given(key);
    if (value == nullptr && otherwise) return *otherwise;
    if (value != nullptr && value->is_number() && value->as_double() >= least && value->as_double() <= most)
        return value->as_double();
    return malformed(name(key) + " is " + (value == nullptr ? "missing" : value_text(*value)) +
                     ", expected a number from " + json::to_string(json::Value(least)) + " to " +
                     json::to_string(json::Value(most)));
}

Result<bool> Fields::boolean(std::string_view key, bool otherwise) const {
    const json::Value* value = given(key);
    if (value == nullptr) return otherwise;
    if (!value->is_bool())
        return malformed(name(key) + " is " + value_text(*value) + ", expected true or false");
    return value->as_bool();
}

Result<std::vector<TokenId>> Fields::ids(std::string_view key) const {
    std::vector<TokenId> ids;
    const json::Value* value = given(key);
    if (value == nullptr) return ids;
    const json::Array single{*value};
    const json::Array& values = value->is_array() ? value->as_array() : single;
    for (const json::Value& entry : values) {
        const auto id = entry.to_int64();
        if (!id || *id < 0 || *id >= kMaxVocab || values.size() > kMaxIds) {
            return malformed(name(key) + " is " + value_text(*value) +
                             ", expected a token id or a list of at most " + std::to_string(kMaxIds));
        }
        if (std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(static_cast<TokenId>(*id));
    }
    return ids;
}

Result<std::optional<Fields>> Fields::fields(std::string_view key) const {
    const json::Value* value = given(key);
    if (value == nullptr) return std::optional<Fields>();
    if (!value->is_object())
        return malformed(name(key) + " is " + value_text(*value) + ", expected an object or null");
    return std::optional<Fields>(Fields(value->as_object(), name(key) + "."));
}

Status Fields::only(std::string_view key, const json::Value& neutral) const {
    const json::Value* value = given(key);
    if (value == nullptr || *value == neutral) return {};
    if (value->is_number() && neutral.is_number() && value->as_double() == neutral.as_double()) return {};
    return unsupported(name(key) + " is " + value_text(*value) + ", which is not supported; only " +
                       value_text(neutral) + " is");
}

Status Fields::refuse_others(std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : object_) {
        if (value.is_null() || std::find(known.begin(), known.end(), key) != known.end()) continue;
        return unsupported("the setting " + path_ + shown(key) + " (" + value_text(value) +
                           ") is not supported");
    }
    return {};
}

Status check_ids(const ModelConfig& config) {
    const auto check_id = [&](std::string_view field, TokenId id) -> Status {
        if (id < config.vocab) return {};
        return malformed(std::string(field) + " is " + std::to_string(id) +
                         ", expected below the vocabulary size " + std::to_string(config.vocab));
    };
    OSTAL_TRYV(check_id("bos_token_id", config.bos));
    for (const TokenId id : config.eos) OSTAL_TRYV(check_id("eos_token_id", id));
    return {};
}

Status check_consistent(const ModelConfig& config, const FieldNames& names) {
    if (config.heads % config.kv_heads != 0) {
        return malformed(std::string(names.heads) + " is " + std::to_string(config.heads) +
                         ", expected a multiple of " + std::string(names.kv_heads) + " (" +
                         std::to_string(config.kv_heads) + ")");
    }
    if (config.head_dim % 2 != 0) {
        return malformed(std::string(names.head_dim) + " is " + std::to_string(config.head_dim) +
                         ", expected an even number");
    }
    if (config.experts_per_token > config.experts) {
        return malformed(std::string(names.experts_per_token) + " is " +
                         std::to_string(config.experts_per_token) + ", expected at most " +
                         std::string(names.experts) + " (" + std::to_string(config.experts) + ")");
    }
    return {};
}

void set_windows(ModelConfig& config, std::vector<std::int32_t> windows) {
    for (std::int32_t& window : windows) {
        if (window >= config.context) window = 0;
    }
    const bool any = std::any_of(windows.begin(), windows.end(), [](std::int32_t w) { return w > 0; });
    config.windows = any ? std::move(windows) : std::vector<std::int32_t>();
}

}  // namespace ostal::engine::config
