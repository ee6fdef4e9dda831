// JSON from anywhere: what is accepted keeps the limits it was read with and reads back equal from its encodings. The first byte chooses the limits.
#include <algorithm>
#include <cstdint>

#include "base/bytes.h"
#include "base/check.h"
#include "base/json.h"

namespace {

using namespace ostal;

constexpr std::size_t kMaxDepth = 16;

std::size_t depth_of(const json::Value& value) {
    std::size_t deepest = 0;
    if (value.is_array()) {
        for (const json::Value& item : value.as_array()) deepest = std::max(deepest, depth_of(item));
        return deepest + 1;
    }
    if (value.is_object()) {
        for (const auto& [name, member] : value.as_object()) deepest = std::max(deepest, depth_of(member));
        return deepest + 1;
    }
    return 0;
}

// RFC 8785 numbers are doubles: an integer beyond 2^53 has no exact one, and to_jcs() is not for it.
bool has_jcs(const json::Value& value) {
    constexpr std::int64_t kLimit = std::int64_t{1} << 53;
    if (value.is_integer()) {
        const auto number = value.to_int64();
        return number && *number < kLimit && *number > -kLimit;
    }
    if (value.is_double()) return false;
    if (value.is_array()) return std::ranges::all_of(value.as_array(), has_jcs);
    if (value.is_object()) {
        return std::ranges::all_of(value.as_object(), [](const auto& member) { return has_jcs(member.second); });
    }
    return true;
}

json::Value read_back(const std::string& text) {
    auto value = json::parse(text);
    CHECK(value.has_value());
    return std::move(*value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    json::Limits limits;
    limits.max_depth = kMaxDepth;
    limits.integers_only = data[0] % 2 == 1;
    const auto value = json::parse(as_text({data + 1, size - 1}), limits);
    if (!value) {
        CHECK(!value.error().message().empty());
        return 0;
    }
    CHECK_LE(depth_of(*value), kMaxDepth);
    CHECK(read_back(json::to_python_string(*value)) == *value);
    // The short forms write 1.0 as 1, which reads back as an integer: equal from then on.
    const json::Value short_form = read_back(json::to_string(*value));
    CHECK(read_back(json::to_pretty_string(*value)) == short_form);
    CHECK(read_back(json::to_string(short_form)) == short_form);
    if (has_jcs(*value)) {
        const std::string canonical = json::to_jcs(*value);
        CHECK_EQ(json::to_jcs(read_back(canonical)), canonical);
    }
    if (limits.integers_only) (void)json::to_olpc(*value);
    return 0;
}
