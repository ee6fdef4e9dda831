#include "security/crypto/ed25519.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <sodium.h>

#include <climits>

#include "base/check.h"
#include "security/crypto/openssl_ptr.h"
#include "security/crypto/self_test.h"

namespace ostal::security {
namespace {

using Bio = OpensslPtr<BIO, BIO_free>;
using Key = OpensslPtr<EVP_PKEY, EVP_PKEY_free>;

// A passphrase is guessed offline by whoever has the file: 0.2 s a guess, as a stored password would have.
constexpr int kPbkdf2Rounds = 600'000;

struct PassphraseRequest {
    std::string_view passphrase;
    bool asked = false;
};

// Without a callback OpenSSL would ask on the terminal.
int give_passphrase(char* buffer, int size, int, void* user) {
    auto* request = static_cast<PassphraseRequest*>(user);
    request->asked = true;
    if (request->passphrase.empty() || request->passphrase.size() > static_cast<std::size_t>(size)) return -1;
    std::memcpy(buffer, request->passphrase.data(), request->passphrase.size());
    return static_cast<int>(request->passphrase.size());
}

Bio reader(std::string_view text) {
    CHECK_LE(text.size(), static_cast<std::size_t>(INT_MAX));
    Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    CHECK(bio != nullptr);
    return bio;
}

std::string_view content(BIO* bio) {
    char* text = nullptr;
    const long length = BIO_get_mem_data(bio, &text);
    CHECK_GT(length, 0);
    return {text, static_cast<std::size_t>(length)};
}

}  // namespace

Status ed25519_verify(ByteSpan public_key, ByteSpan message, ByteSpan signature) {
    init_crypto();
    if (public_key.size() != crypto_sign_PUBLICKEYBYTES || signature.size() != crypto_sign_BYTES ||
        crypto_sign_verify_detached(signature.data(), message.data(), message.size(), public_key.data()) !=
            0) {
        return fail(Code::kIntegrity, "the signature does not hold");
    }
    return {};
}

Ed25519PrivateKey Ed25519PrivateKey::generate(RandomSource& random) {
    return from_seed(Secret<32>::from_random(random).view());
}

Ed25519PrivateKey Ed25519PrivateKey::from_seed(KeyView seed) {
    init_crypto();
    Ed25519PrivateKey key;
    CHECK_EQ(
        crypto_sign_seed_keypair(key.public_key_.data(), key.secret_.mutable_bytes().data(), seed.data()), 0);
    return key;
}

Ed25519Signature Ed25519PrivateKey::sign(ByteSpan message) const {
    Ed25519Signature signature;
    CHECK_EQ(crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(),
                                  secret_.view().data()),
             0);
    return signature;
}

Result<Ed25519PrivateKey> Ed25519PrivateKey::from_pkcs8_pem(std::string_view pem,
                                                            std::string_view passphrase) {
    PassphraseRequest request{passphrase};
    const Bio bio = reader(pem);
    const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, give_passphrase, &request));
    ERR_clear_error();
    if (key == nullptr && request.asked) {
        return fail(Code::kUnauthenticated, passphrase.empty()
                                                ? "the private key needs a passphrase"
                                                : "the passphrase of the private key is wrong");
    }
    Secret<32> seed;
    std::size_t length = seed.size();
    if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_private_key(key.get(), seed.mutable_bytes().data(), &length) != 1 ||
        length != seed.size()) {
        ERR_clear_error();
        return fail(Code::kInvalidArgument, "this is no Ed25519 private key in PKCS#8 PEM form");
    }
    return from_seed(seed.view());
}

SecretBytes Ed25519PrivateKey::to_pkcs8_pem(std::string_view passphrase) const {
    const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed().data(), seed().size()));
    CHECK(key != nullptr);
    const OpensslPtr<PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO_free> plain(EVP_PKEY2PKCS8(key.get()));
    CHECK(plain != nullptr);
    const Bio bio(BIO_new(BIO_s_secmem()));  // cleared when freed
    CHECK(bio != nullptr);
    if (passphrase.empty()) {
        CHECK_EQ(PEM_write_bio_PKCS8_PRIV_KEY_INFO(bio.get(), plain.get()), 1);
    } else {
        CHECK_LE(passphrase.size(), static_cast<std::size_t>(INT_MAX));
        X509_ALGOR* const scheme =
            PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), kPbkdf2Rounds, nullptr, 16, nullptr, NID_hmacWithSHA256);
        CHECK(scheme != nullptr);
        // Takes the scheme over.
        const OpensslPtr<X509_SIG, X509_SIG_free> sealed(
            PKCS8_set0_pbe(passphrase.data(), static_cast<int>(passphrase.size()), plain.get(), scheme));
        CHECK(sealed != nullptr);
        CHECK_EQ(PEM_write_bio_PKCS8(bio.get(), sealed.get()), 1);
    }
    return SecretBytes::copy_of(as_bytes(content(bio.get())));
}

std::string ed25519_public_key_to_pem(const Ed25519PublicKey& public_key) {
    const Key key(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, public_key.data(), public_key.size()));
    CHECK(key != nullptr);
    const Bio bio(BIO_new(BIO_s_mem()));
    CHECK(bio != nullptr);
    CHECK_EQ(PEM_write_bio_PUBKEY(bio.get(), key.get()), 1);
    return std::string(content(bio.get()));
}

Result<Ed25519PublicKey> ed25519_public_key_from_pem(std::string_view pem) {
    const Bio bio = reader(pem);
    PassphraseRequest none;
    const Key key(PEM_read_bio_PUBKEY(bio.get(), nullptr, give_passphrase, &none));
    Ed25519PublicKey out;
    std::size_t length = out.size();
    const bool good = key != nullptr && EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_ED25519 &&
                      EVP_PKEY_get_raw_public_key(key.get(), out.data(), &length) == 1 &&
                      length == out.size();
    ERR_clear_error();
    if (!good) return fail(Code::kInvalidArgument, "this is no Ed25519 public key in PEM form");
    return out;
}

}  // namespace ostal::security
