#include "security/crypto/argon2.h"

#include <sodium.h>

#include "security/crypto/self_test.h"

namespace ostal::security {

Status Argon2Limits::check(const Argon2Cost& cost) const {
    if (cost.passes < least.passes || cost.passes > most.passes || cost.memory_bytes < least.memory_bytes ||
        cost.memory_bytes > most.memory_bytes) {
        return fail(Code::kIntegrity, "a stored Argon2 cost is outside of the limits");
    }
    return {};
}

Status argon2id(ByteSpan password, std::span<const std::uint8_t, kArgon2SaltBytes> salt,
                const Argon2Cost& cost, MutableByteSpan out) {
    static_assert(kArgon2SaltBytes == crypto_pwhash_argon2id_SALTBYTES);
    if (cost.passes < crypto_pwhash_argon2id_opslimit_min() ||
        cost.memory_bytes < crypto_pwhash_argon2id_memlimit_min() ||
        cost.memory_bytes > crypto_pwhash_argon2id_memlimit_max() ||
        out.size() < crypto_pwhash_argon2id_bytes_min() || password.size() > crypto_pwhash_passwd_max()) {
        return fail(Code::kInvalidArgument, "Argon2id does not take this cost or length");
    }
    init_crypto();
    // libsodium wants a pointer even for the empty password.
    const ByteSpan text = password.empty() ? ByteSpan(salt).first(0) : password;
    if (crypto_pwhash_argon2id(out.data(), out.size(), reinterpret_cast<const char*>(text.data()),
                               text.size(), salt.data(), cost.passes,
                               static_cast<std::size_t>(cost.memory_bytes),
                               crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0) {
        return fail(Code::kResourceExhausted,
                    "Argon2id could not get " + std::to_string(cost.memory_bytes >> 20) + " MiB of memory");
    }
    return {};
}

}  // namespace ostal::security
