#include "security/crypto/aead.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>

#include <climits>

#include "base/check.h"
#include "security/crypto/openssl_ptr.h"
#include "security/crypto/self_test.h"

namespace ostal::security {
namespace {

Status refused() {
    return fail(Code::kIntegrity, "the encrypted data was altered or the key is not its own");
}

int evp_length(std::size_t size) {
    CHECK_LE(size, static_cast<std::size_t>(INT_MAX));
    return static_cast<int>(size);
}

const EVP_CIPHER* gcm_algorithm() {
    static EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
    CHECK(algorithm != nullptr);
    return algorithm;
}

}  // namespace

void xchacha20_seal(KeyView key, XChaChaNonce nonce, ByteSpan aad, ByteSpan plaintext, MutableByteSpan out) {
    CHECK_EQ(out.size(), plaintext.size() + kAeadTagBytes);
    init_crypto();
    crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, plaintext.data(), plaintext.size(),
                                               aad.data(), aad.size(), nullptr, nonce.data(), key.data());
}

Status xchacha20_open(KeyView key, XChaChaNonce nonce, ByteSpan aad, ByteSpan sealed, MutableByteSpan out) {
    if (sealed.size() < kAeadTagBytes) return refused();
    CHECK_EQ(out.size(), sealed.size() - kAeadTagBytes);
    init_crypto();
    // The tag is checked over the ciphertext before anything is written.
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(), sealed.size(),
                                                   aad.data(), aad.size(), nonce.data(), key.data()) != 0) {
        return refused();
    }
    return {};
}

// The key is expanded once a direction; a message then sets its nonce alone.
struct Aes256Gcm::State {
    OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> sealing{EVP_CIPHER_CTX_new()};
    OpensslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> opening{EVP_CIPHER_CTX_new()};
};

Aes256Gcm::Aes256Gcm(KeyView key) : state_(std::make_unique<State>()) {
    CHECK_EQ(EVP_EncryptInit_ex(state_->sealing.get(), gcm_algorithm(), nullptr, key.data(), nullptr), 1);
    CHECK_EQ(EVP_DecryptInit_ex(state_->opening.get(), gcm_algorithm(), nullptr, key.data(), nullptr), 1);
}
Aes256Gcm::~Aes256Gcm() = default;
Aes256Gcm::Aes256Gcm(Aes256Gcm&&) noexcept = default;
Aes256Gcm& Aes256Gcm::operator=(Aes256Gcm&&) noexcept = default;

void Aes256Gcm::seal(GcmNonce nonce, ByteSpan aad, ByteSpan plaintext, MutableByteSpan out) {
    CHECK_EQ(out.size(), plaintext.size() + kAeadTagBytes);
    EVP_CIPHER_CTX* const context = state_->sealing.get();
    int length = 0;
    CHECK_EQ(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()), 1);
    if (!aad.empty()) {
        CHECK_EQ(EVP_EncryptUpdate(context, nullptr, &length, aad.data(), evp_length(aad.size())), 1);
    }
    if (!plaintext.empty()) {
        CHECK_EQ(
            EVP_EncryptUpdate(context, out.data(), &length, plaintext.data(), evp_length(plaintext.size())),
            1);
    }
    CHECK_EQ(EVP_EncryptFinal_ex(context, out.data() + plaintext.size(), &length), 1);
    CHECK_EQ(
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes, out.data() + plaintext.size()), 1);
}

Status Aes256Gcm::open(GcmNonce nonce, ByteSpan aad, ByteSpan sealed, MutableByteSpan out) {
    if (sealed.size() < kAeadTagBytes) return refused();
    const ByteSpan ciphertext = sealed.first(sealed.size() - kAeadTagBytes);
    CHECK_EQ(out.size(), ciphertext.size());
    EVP_CIPHER_CTX* const context = state_->opening.get();
    std::array<std::uint8_t, kAeadTagBytes> tag;
    std::memcpy(tag.data(), sealed.data() + ciphertext.size(), tag.size());
    int length = 0;
    CHECK_EQ(EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()), 1);
    if (!aad.empty()) {
        CHECK_EQ(EVP_DecryptUpdate(context, nullptr, &length, aad.data(), evp_length(aad.size())), 1);
    }
    if (!ciphertext.empty()) {
        CHECK_EQ(
            EVP_DecryptUpdate(context, out.data(), &length, ciphertext.data(), evp_length(ciphertext.size())),
            1);
    }
    CHECK_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, tag.data()), 1);
    std::uint8_t nothing = 0;
    if (EVP_DecryptFinal_ex(context, &nothing, &length) != 1) {
        ERR_clear_error();
        if (!out.empty()) wipe(out);
        return refused();
    }
    return {};
}

}  // namespace ostal::security
