// Checkpoints and verifier keys: signed notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) with Ed25519.
//
//   <origin>\n <decimal size>\n <base64 root>\n \n — <origin> <base64(key id 4 || signature 64)>\n
//   verifier key: <name>+<8 hex of key id>+<base64(0x01 || public key)>
//   key id = first four bytes of SHA-256(name || 0x0A || 0x01 || public key)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "security/crypto/ed25519.h"
#include "security/crypto/hash.h"

namespace ostal::security {

struct VerifierKey {
    std::string name;  // the log's origin
    Ed25519PublicKey public_key{};
    friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};

// A key name: not empty, at most 128 bytes of printable ASCII without space and '+'.
bool is_key_name(std::string_view name);
std::string verifier_key_text(const VerifierKey& key);
// One line, with or without its end. kInvalidArgument unless it is exactly what verifier_key_text writes.
Result<VerifierKey> parse_verifier_key(std::string_view text);

struct Checkpoint {
    std::string origin;
    std::uint64_t size = 0;
    Digest32 root{};
};

// What is signed: the three lines.
std::string checkpoint_body(const Checkpoint& checkpoint);
std::string checkpoint_text(const Checkpoint& checkpoint, const VerifierKey& key,
                            const Ed25519Signature& signature);
// kInvalidArgument when malformed; kIntegrity when no signature of `key` holds or the origin is not its name.
// Signatures of other keys (witnesses) are skipped, as the format asks.
Result<Checkpoint> open_checkpoint(std::string_view text, const VerifierKey& key);

}  // namespace ostal::security
