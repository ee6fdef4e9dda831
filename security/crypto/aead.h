// Authenticated encryption: XChaCha20-Poly1305 for records and key wraps
// (random nonces are safe), AES-256-GCM for the chunks of weight files.
//
// Every failure to open is kIntegrity with one message, whatever the cause.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "security/secret.h"

namespace ostal::security {

inline constexpr std::size_t kAeadTagBytes = 16;
inline constexpr std::size_t kXChaChaNonceBytes = 24;
inline constexpr std::size_t kGcmNonceBytes = 12;

using XChaChaNonce = std::span<const std::uint8_t, kXChaChaNonceBytes>;
using GcmNonce = std::span<const std::uint8_t, kGcmNonceBytes>;

// draft-irtf-cfrg-xchacha-03, by libsodium. `out` holds plaintext.size() + 16
// bytes: ciphertext, tag.
void xchacha20_seal(KeyView key, XChaChaNonce nonce, ByteSpan aad, ByteSpan plaintext, MutableByteSpan out);
// `sealed` = ciphertext, tag; `out` holds sealed.size() - 16 bytes and stays
// without plaintext on failure.
Status xchacha20_open(KeyView key, XChaChaNonce nonce, ByteSpan aad, ByteSpan sealed, MutableByteSpan out);

// AES-256-GCM with one key for many messages (NIST SP 800-38D; 96-bit nonces,
// 128-bit tags), by OpenSSL. One thread at a time: each thread makes its own. A
// nonce must never repeat under one key.
class Aes256Gcm {
public:
    explicit Aes256Gcm(KeyView key);
    ~Aes256Gcm();
    Aes256Gcm(Aes256Gcm&&) noexcept;
    Aes256Gcm& operator=(Aes256Gcm&&) noexcept;

    // As xchacha20_seal and xchacha20_open. open() zeroes `out` on failure. `out`
    // may not overlap the input.
    void seal(GcmNonce nonce, ByteSpan aad, ByteSpan plaintext, MutableByteSpan out);
    Status open(GcmNonce nonce, ByteSpan aad, ByteSpan sealed, MutableByteSpan out);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace ostal::security
