// The text of an API key: by position, checked by CRC-32.
#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "security/identity/tokens.h"

namespace ostal::security {
namespace {

constexpr std::string_view kBase62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kLivePrefix = "ost_live_";
constexpr std::string_view kTestPrefix = "ost_test_";
constexpr std::size_t kPrefixLength = 9;
constexpr std::size_t kChecksumLength = 6;
static_assert(kPrefixLength + kApiKeyLookupLength + kApiKeySecretLength + kChecksumLength == kApiKeyLength);

// CRC-32 as zlib and IEEE 802.3 compute it (reflected, polynomial 0xEDB88320).
std::uint32_t crc32(std::string_view text) {
    std::uint32_t crc = 0xFFFFFFFFU;
    for (const char c : text) {
        crc ^= static_cast<std::uint8_t>(c);
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    return ~crc;
}

// Six digits, zero-padded: 62^6 > 2^32.
std::string checksum(std::string_view text) {
    std::string digits(kChecksumLength, '0');
    std::uint32_t value = crc32(text);
    for (std::size_t i = kChecksumLength; i-- > 0; value /= 62) digits[i] = kBase62[value % 62];
    return digits;
}

void append_random(std::string& text, std::size_t count, RandomSource& random) {
    std::array<std::uint8_t, 64> bytes{};
    const std::size_t end = text.size() + count;
    while (text.size() < end) {
        random.fill(bytes);
        for (const std::uint8_t byte : bytes) {
            // 248 = 4 * 62: the rest would favour the first digits.
            if (byte < 248 && text.size() < end) text += kBase62[byte % 62];
        }
    }
    wipe(MutableByteSpan(bytes));
}

}  // namespace

Result<ParsedApiKey> parse_api_key(std::string_view text) {
    const auto refuse = [] { return fail(Code::kUnauthenticated, "not an API key"); };
    if (text.size() != kApiKeyLength) return refuse();
    ParsedApiKey key;
    if (text.starts_with(kLivePrefix))
        key.environment = KeyEnvironment::kLive;
    else if (text.starts_with(kTestPrefix))
        key.environment = KeyEnvironment::kTest;
    else
        return refuse();
    const std::string_view body = text.substr(kPrefixLength);
    if (body.find_first_not_of(kBase62) != std::string_view::npos) return refuse();
    const std::size_t checked = kApiKeyLength - kChecksumLength;
    if (text.substr(checked) != checksum(text.substr(0, checked))) return refuse();
    key.lookup = body.substr(0, kApiKeyLookupLength);
    key.secret = body.substr(kApiKeyLookupLength, kApiKeySecretLength);
    return key;
}

std::string make_api_key(KeyEnvironment environment, RandomSource& random) {
    std::string text;
    text.reserve(kApiKeyLength);  // no copy of the secret is left behind by growth
    text += environment == KeyEnvironment::kLive ? kLivePrefix : kTestPrefix;
    append_random(text, kApiKeyLookupLength + kApiKeySecretLength, random);
    text += checksum(text);
    return text;
}

}  // namespace ostal::security
