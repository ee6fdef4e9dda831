// Signing keys as files: Ed25519 in PKCS#8 (RFC 8410), readable by the owner alone.
#pragma once

#include <string>
#include <string_view>

#include "base/file.h"
#include "base/random.h"
#include "base/result.h"
#include "security/crypto/ed25519.h"
#include "security/secret.h"

namespace ostal::bundle {

// Writes a new key (0600; kConflict when the file exists) and returns its public half. With a passphrase the
// file is encrypted.
Result<security::Ed25519PublicKey> write_new_key(Files& files, RandomSource& random, const std::string& path,
                                                 std::string_view passphrase);

// kInvalidArgument: not an Ed25519 key, or a file that others may read; kUnauthenticated: the passphrase.
Result<security::Ed25519PrivateKey> read_private_key(Files& files, const std::string& path,
                                                     std::string_view passphrase);

// A public key from 64 hex digits, or from a PEM file that holds a public or an unencrypted private key.
Result<security::Ed25519PublicKey> read_public_key(Files& files, const std::string& text);

// The first line of a file.
Result<security::SecretBytes> read_passphrase(Files& files, const std::string& path);

}  // namespace ostal::bundle
