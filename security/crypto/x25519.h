// X25519 (RFC 7748) and sealed boxes (anonymous public-key encryption), by
// libsodium.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "security/secret.h"

namespace ostal::security {

using X25519PublicKey = std::array<std::uint8_t, 32>;

struct X25519KeyPair {
    Secret<32> private_key;
    X25519PublicKey public_key{};
    static X25519KeyPair generate(RandomSource& random);
    static X25519KeyPair from_private(KeyView private_key);
};

// The shared point. kIntegrity when it is all zero (a public key of small
// order).
Result<Secret<32>> x25519(KeyView private_key, const X25519PublicKey& public_key);

inline constexpr std::size_t kSealedBoxOverheadBytes = 48;

// crypto_box_seal: ephemeral X25519 key, XSalsa20-Poly1305. Only the holder of
// the private key reads it. The ephemeral key comes from libsodium's own
// generator. kIntegrity for a public key of small order.
Result<Bytes> seal_to(const X25519PublicKey& recipient, ByteSpan message);
// kIntegrity when the box is not for this key or was altered.
Result<SecretBytes> open_sealed(const X25519KeyPair& recipient, ByteSpan box);

}  // namespace ostal::security
