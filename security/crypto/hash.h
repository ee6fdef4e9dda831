// SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104), by OpenSSL EVP.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace ostal::security {

using Digest32 = std::array<std::uint8_t, 32>;

Digest32 sha256(ByteSpan bytes);

// SHA-256 of a stream. One thread at a time.
class Sha256 {
public:
    Sha256();
    ~Sha256();
    Sha256(Sha256&&) noexcept;
    Sha256& operator=(Sha256&&) noexcept;

    void update(ByteSpan bytes);
    // The digest of everything since construction or the last finish(); starts
    // anew.
    Digest32 finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

// Any key length. Compare results with constant_time_equal (secret.h), never
// with ==.
Digest32 hmac_sha256(ByteSpan key, ByteSpan message);

// HMAC-SHA-256 of a stream. One thread at a time; finish() once.
class HmacSha256 {
public:
    explicit HmacSha256(ByteSpan key);
    ~HmacSha256();
    HmacSha256(HmacSha256&&) noexcept;
    HmacSha256& operator=(HmacSha256&&) noexcept;

    void update(ByteSpan bytes);
    Digest32 finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace ostal::security
