// The keystore: key slots, ROOT, service keys, key-encryption keys and data
// keys (db/keystore.db).
//
//   slot secret --Argon2id or as is--> slot key --wraps--> ROOT
//   ROOT --HKDF-SHA-512(salt = instance id, info "ostal/v1/wrap")--> K_wrap
//   --wraps--> service keys, KEK epochs KEK epoch --wraps--> data keys (per
//   tenant, user, model file, backup)
//
// Wrap record: u8 suite | u8 type | u32 LE kek_epoch | id16 | nonce24 |
// ciphertext32 | tag16, by XChaCha20-Poly1305; AAD = all before the nonce, then
// the owner path. A wrap moved to another row or owner is refused. ROOT exists
// in clear in locked memory only, between unseal and seal.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/result.h"
#include "security/crypto/argon2.h"
#include "security/secret.h"
#include "security/storage/cell.h"
#include "security/storage/ids.h"

namespace ostal::security {

enum class SlotKind : std::uint8_t { kPassphrase = 1, kKeyFile = 2 };

// What opens a slot. A systemd credential is a key file.
struct SlotSecret {
    SlotKind kind;
    SecretBytes secret;
    static SlotSecret passphrase(SecretBytes text) { return {SlotKind::kPassphrase, std::move(text)}; }
    // 32 random bytes; any other length is refused where it is used
    // (kInvalidArgument).
    static SlotSecret key_file(SecretBytes bytes) { return {SlotKind::kKeyFile, std::move(bytes)}; }
};

struct SlotInfo {
    Id id{};
    SlotKind kind{};
    std::string label;
    std::int64_t created_us = 0;
};

enum class ServiceKey { kMeta, kLookup, kSession, kFloor, kBackup, kCa, kAuditSign };

// The audit log's key, replaced at every checkpoint (contracts: k' = HMAC(k,
// "next")).
struct EvolvingKey {
    std::uint64_t counter = 0;
    Secret<32> key;
};

// Thread-safe.
class Keyring {
public:
    struct Options {
        Argon2Cost passphrase_cost{};      // of new slots
        Argon2Limits passphrase_limits{};  // of slots read
    };
    struct Seams {
        Files& files;
        const Clock& clock;
        RandomSource& random;
    };
    static constexpr std::size_t kMaxSlots = 16;

    // Makes db/keystore.db in the state folder (the folder exists) with fresh
    // keys and one slot; unsealed. kConflict when there is a keystore already.
    static Result<std::unique_ptr<Keyring>> create(const Seams& seams, const std::string& state_folder,
                                                   const SlotSecret& secret, std::string_view label,
                                                   const Options& options);
    static Result<std::unique_ptr<Keyring>> create(const Seams& seams, const std::string& state_folder,
                                                   const SlotSecret& secret, std::string_view label) {
        return create(seams, state_folder, secret, label, Options{});
    }
    // Sealed. kNotFound when there is no keystore.
    static Result<std::unique_ptr<Keyring>> open(const Seams& seams, const std::string& state_folder,
                                                 const Options& options);
    static Result<std::unique_ptr<Keyring>> open(const Seams& seams, const std::string& state_folder) {
        return open(seams, state_folder, Options{});
    }
    ~Keyring();
    Keyring(const Keyring&) = delete;
    Keyring& operator=(const Keyring&) = delete;

    const Id& instance_id() const;

    // Tries the slots of the secret's kind. kUnauthenticated (one message) when
    // none accepts it; kIntegrity when a slot or a wrapped key is damaged. Blocks
    // for an Argon2 per passphrase slot.
    Status unseal(const SlotSecret& secret);
    // Wipes every key.
    void seal();
    bool is_sealed() const;

    // The methods below are kUnavailable while sealed, but for list_slots().
    Result<std::vector<SlotInfo>> list_slots() const;
    // kConflict when all kMaxSlots are taken.
    Result<Id> add_slot(const SlotSecret& secret, std::string_view label);
    // kNotFound; kConflict for the last slot. The removed wrap is overwritten in
    // file and log.
    Status remove_slot(const Id& id);

    Result<Secret<32>> service_key(ServiceKey key) const;
    Result<EvolvingKey> audit_mac_key() const;
    // Durable when it returns; the key before it is gone from file and log.
    // `next.counter` must be the stored one plus 1 (kConflict).
    Status replace_audit_mac_key(const EvolvingKey& next);

    // A fresh data key, stored before this returns. `owner` is its path:
    // "tenant/<id>/user/<id>/<purpose>".
    Result<Dek> new_dek(std::string_view owner);
    // kNotFound; kIntegrity when it is another owner's or altered.
    Result<Dek> dek(const Id& id, std::string_view owner) const;
    // Crypto-erasure: the wrap is overwritten in the file and the log is emptied.
    // kNotFound.
    Status erase_dek(const Id& id);
    // All data keys, for the sweep of orphans at start.
    Result<std::vector<Id>> list_deks() const;

private:
    struct State;
    explicit Keyring(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace ostal::security
