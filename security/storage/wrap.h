// The record of a wrapped key: u8 suite | u8 type | u32 LE kek_epoch | id16 | nonce24 | ciphertext32 | tag16,
// by XChaCha20-Poly1305 with the AAD "all before the nonce, then the owner path".
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "security/secret.h"
#include "security/storage/ids.h"

namespace ostal::security {

inline constexpr std::size_t kWrapBytes = 1 + 1 + 4 + 16 + 24 + 32 + 16;

enum class WrapType : std::uint8_t { kRoot = 1, kServiceKey = 2, kKek = 3, kDek = 4 };

// Which key a wrap holds; the record repeats it, and `owner` (which it does not hold) is bound with it.
struct WrapLabel {
    WrapType type{};
    std::uint32_t kek_epoch = 0;  // of a DEK: the KEK that wraps it; of a KEK: its own; else 0
    Id id{};
    std::string_view owner;
};

Bytes seal_wrap(KeyView wrapping_key, const WrapLabel& label, KeyView key, RandomSource& random);
// kIntegrity for a record of another label, another wrapping key, or altered.
Result<Secret<32>> open_wrap(KeyView wrapping_key, const WrapLabel& label, ByteSpan wrap);
// kIntegrity when the record is too short or long.
Result<std::uint32_t> wrap_kek_epoch(ByteSpan wrap);

}  // namespace ostal::security
