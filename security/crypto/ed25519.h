// Ed25519 signatures (RFC 8032): signed and verified by libsodium (which
// refuses small-order keys and non-canonical scalars); PKCS#8 and
// SubjectPublicKeyInfo encodings (RFC 8410) by OpenSSL.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "security/secret.h"

namespace ostal::security {

using Ed25519PublicKey = std::array<std::uint8_t, 32>;
using Ed25519Signature = std::array<std::uint8_t, 64>;

// kIntegrity for every signature that does not hold, wrong lengths included.
Status ed25519_verify(ByteSpan public_key, ByteSpan message, ByteSpan signature);

class Ed25519PrivateKey {
public:
    static Ed25519PrivateKey generate(RandomSource& random);
    // The 32-byte private key of RFC 8032.
    static Ed25519PrivateKey from_seed(KeyView seed);
    // "-----BEGIN PRIVATE KEY-----", or "-----BEGIN ENCRYPTED PRIVATE KEY-----"
    // with a passphrase. kUnauthenticated when the passphrase is missing or
    // wrong; kInvalidArgument when it is no Ed25519 key.
    static Result<Ed25519PrivateKey> from_pkcs8_pem(std::string_view pem, std::string_view passphrase = {});

    // With a passphrase: PBES2 with AES-256-CBC and PBKDF2-SHA-256.
    SecretBytes to_pkcs8_pem(std::string_view passphrase = {}) const;
    const Ed25519PublicKey& public_key() const { return public_key_; }
    Ed25519Signature sign(ByteSpan message) const;
    KeyView seed() const { return KeyView(secret_.view().data(), 32); }

private:
    Ed25519PrivateKey() = default;
    Secret<64> secret_;  // seed, public key
    Ed25519PublicKey public_key_{};
};

// "-----BEGIN PUBLIC KEY-----"
std::string ed25519_public_key_to_pem(const Ed25519PublicKey& key);
Result<Ed25519PublicKey> ed25519_public_key_from_pem(std::string_view pem);

}  // namespace ostal::security
