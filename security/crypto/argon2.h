// Argon2id version 0x13 (RFC 9106) with one lane, by libsodium.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace ostal::security {

inline constexpr std::size_t kArgon2SaltBytes = 16;

struct Argon2Cost {
    std::uint32_t passes = 3;
    std::uint64_t memory_bytes = 256ULL << 20;
    friend bool operator==(const Argon2Cost&, const Argon2Cost&) = default;
};

// What a cost read from a file may be: an edited file must not choose a key
// without cost, nor one that takes the machine down.
struct Argon2Limits {
    Argon2Cost least{2, 16ULL << 20};
    Argon2Cost most{16, 1ULL << 30};
    // kIntegrity outside of the limits.
    Status check(const Argon2Cost& cost) const;
};

// Fills `out` (16 bytes or more). kResourceExhausted when the memory cannot be
// had; kInvalidArgument for a cost outside of what Argon2 takes
// (passes 1..2^32-1, memory 8 KiB..4 TiB).
Status argon2id(ByteSpan password, std::span<const std::uint8_t, kArgon2SaltBytes> salt,
                const Argon2Cost& cost, MutableByteSpan out);

}  // namespace ostal::security
