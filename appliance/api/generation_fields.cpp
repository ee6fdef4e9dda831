#include "appliance/api/generation_fields.h"

#include <charconv>
#include <limits>

namespace ostal::api {
namespace {

using json::Value;

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxStops = 16;
constexpr std::size_t kMaxStopBytes = 1024;
constexpr std::size_t kMaxBiases = 1024;
constexpr std::int32_t kMaxChoices = 16;

Status unprocessable(std::string message) { return fail(Code::kUnprocessable, std::move(message)); }

// Two names of one thing may both be given when they agree.
template <typename T>
Status set_once(std::optional<T>& place, T value, const char* names) {
    if (place && *place != value) return unprocessable(std::string(names) + " are both given and differ");
    place = value;
    return {};
}

Status read_temperature(const Value& value, GenerationFields& request) {
    double number = 0;
    OSTAL_TRYV(read_number(value, 0, 2, number));
    request.temperature = number;
    return {};
}

Status read_top_p(const Value& value, GenerationFields& request) {
    OSTAL_TRYV(read_number(value, 0, 1, request.sampling.top_p));
    return request.sampling.top_p > 0 ? Status() : unprocessable("expected a number above 0");
}

Status read_seed(const Value& value, GenerationFields& request) {
    if (!value.is_integer()) return unprocessable("expected an integer of 64 bits");
    const auto number = value.to_int64();
    return set_once(request.seed, number ? static_cast<std::uint64_t>(*number) : *value.to_uint64(),
                    "seed and random_seed");
}

Status read_max_tokens(const Value& value, GenerationFields& request) {
    std::int32_t number = 0;
    OSTAL_TRYV(read_integer(value, 1, kMaxInt32, number));
    return set_once(request.max_tokens, number, "max_tokens and max_completion_tokens");
}

Status read_stop(const Value& value, GenerationFields& request) {
    std::vector<std::string> stops;
    if (value.is_string()) {
        stops.push_back(value.as_string());
    } else if (value.is_array()) {
        if (value.as_array().size() > kMaxStops) return unprocessable("at most 16 stop strings are taken");
        for (const Value& item : value.as_array()) {
            if (!item.is_string()) return unprocessable("expected a string or a list of strings");
            stops.push_back(item.as_string());
        }
    } else {
        return unprocessable("expected a string or a list of strings");
    }
    for (const std::string& stop : stops) {
        if (stop.empty()) return unprocessable("a stop string is empty");
        if (stop.size() > kMaxStopBytes) return unprocessable("a stop string is longer than 1024 bytes");
    }
    request.stop = std::move(stops);
    return {};
}

// A token id as a member's name: digits without leading zeros, so that no id can occur twice.
std::optional<engine::TokenId> token_id(std::string_view text) {
    engine::TokenId id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    const bool canonical = !text.empty() && text[0] >= '0' && text[0] <= '9' && (text[0] != '0' || text.size() == 1);
    if (error != std::errc() || end != text.data() + text.size() || !canonical) return std::nullopt;
    return id;
}

Status read_logit_bias(const Value& value, GenerationFields& request) {
    if (!value.is_object()) return unprocessable("expected an object of token ids and numbers");
    if (value.as_object().size() > kMaxBiases) return unprocessable("at most 1024 tokens are taken");
    std::vector<engine::LogitBias> biases;
    for (const auto& [name, number] : value.as_object()) {
        const auto id = token_id(name);
        if (!id) return unprocessable("expected token ids as names");
        engine::LogitBias bias{*id, 0};
        OSTAL_TRYV(read_number(number, -100, 100, bias.bias));
        biases.push_back(bias);
    }
    request.sampling.logit_bias = std::move(biases);
    return {};
}

Status read_stream_options(const Value& value, GenerationFields& request) {
    if (!value.is_object()) return unprocessable("expected an object");
    const Value* usage = value.find("include_usage");
    if (usage == nullptr || usage->is_null()) return {};
    bool include = false;
    if (const Status read = read_bool(*usage, include); !read) {
        return unprocessable("include_usage: " + read.error().message());
    }
    request.include_usage = include;
    return {};
}

}  // namespace

const std::vector<Field<GenerationFields>>& generation_fields() {
    using Fields = GenerationFields;
    static const std::vector<Field<Fields>> table = {
        {"model", [](const Value& v, Fields& r) { return read_text(v, r.model); }},
        {"temperature", read_temperature},
        {"top_p", read_top_p},
        {"top_k", [](const Value& v, Fields& r) { return read_integer(v, 0, 1'000'000, r.sampling.top_k); }},
        {"min_p", [](const Value& v, Fields& r) { return read_number(v, 0, 1, r.sampling.min_p); }},
        {"presence_penalty", [](const Value& v, Fields& r) { return read_number(v, -2, 2, r.sampling.presence_penalty); }},
        {"frequency_penalty",
         [](const Value& v, Fields& r) { return read_number(v, -2, 2, r.sampling.frequency_penalty); }},
        {"logit_bias", read_logit_bias},
        {"seed", read_seed},
        {"random_seed", read_seed},
        {"max_tokens", read_max_tokens},
        {"max_completion_tokens", read_max_tokens},
        {"min_tokens", [](const Value& v, Fields& r) { return read_integer(v, 0, kMaxInt32, r.min_tokens); }},
        {"stop", read_stop},
        {"n", [](const Value& v, Fields& r) { return read_integer(v, 1, kMaxChoices, r.n); }},
        {"stream", [](const Value& v, Fields& r) { return read_bool(v, r.stream); }},
        {"stream_options", read_stream_options},
    };
    return table;
}

const std::vector<std::string_view>& harmless_fields() {
    static const std::vector<std::string_view> names = {
        "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier", "verbosity"};
    return names;
}

Step<void> check_generation_fields(const GenerationFields& request) {
    if (request.max_tokens && request.min_tokens > *request.max_tokens) {
        return refuse_field(Code::kUnprocessable, "min_tokens", "it is above max_tokens");
    }
    return {};
}

}  // namespace ostal::api
