#include "security/crypto/x25519.h"

#include <sodium.h>

#include "base/check.h"
#include "security/crypto/self_test.h"

namespace ostal::security {

X25519KeyPair X25519KeyPair::generate(RandomSource& random) {
    return from_private(Secret<32>::from_random(random).view());
}

X25519KeyPair X25519KeyPair::from_private(KeyView private_key) {
    init_crypto();
    X25519KeyPair pair;
    pair.private_key = Secret<32>::copy_of(private_key);
    CHECK_EQ(crypto_scalarmult_base(pair.public_key.data(), private_key.data()), 0);
    return pair;
}

Result<Secret<32>> x25519(KeyView private_key, const X25519PublicKey& public_key) {
    init_crypto();
    Secret<32> shared;
    if (crypto_scalarmult(shared.mutable_bytes().data(), private_key.data(), public_key.data()) != 0) {
        return fail(Code::kIntegrity, "the public key is of small order");
    }
    return shared;
}

Result<Bytes> seal_to(const X25519PublicKey& recipient, ByteSpan message) {
    static_assert(kSealedBoxOverheadBytes == crypto_box_SEALBYTES);
    init_crypto();
    Bytes box(message.size() + kSealedBoxOverheadBytes);
    if (crypto_box_seal(box.data(), message.data(), message.size(), recipient.data()) != 0) {
        return fail(Code::kIntegrity, "the public key is of small order");
    }
    return box;
}

Result<SecretBytes> open_sealed(const X25519KeyPair& recipient, ByteSpan box) {
    init_crypto();
    if (box.size() >= kSealedBoxOverheadBytes) {
        SecretBytes message(box.size() - kSealedBoxOverheadBytes);
        std::uint8_t nothing = 0;
        std::uint8_t* const out = message.empty() ? &nothing : message.mutable_bytes().data();
        if (crypto_box_seal_open(out, box.data(), box.size(), recipient.public_key.data(),
                                 recipient.private_key.view().data()) == 0) {
            return message;
        }
    }
    return fail(Code::kIntegrity, "the sealed box was altered or is not for this key");
}

}  // namespace ostal::security
