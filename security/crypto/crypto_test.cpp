// Our own cases; the Wycheproof vectors are in wycheproof_test.cpp.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "security/crypto/aead.h"
#include "security/crypto/argon2.h"
#include "security/crypto/ed25519.h"
#include "security/crypto/hash.h"
#include "security/crypto/hkdf.h"
#include "security/crypto/self_test.h"
#include "security/crypto/x25519.h"

namespace ostal::security {
namespace {

TEST(Crypto, SelfTestPasses) {
    const Status status = self_test();
    EXPECT_TRUE(status) << status.error().to_string();
}

TEST(Sha256, StreamEqualsOneShotAndStartsAnew) {
    SeededRandom random(2);
    Bytes data(5000);
    random.fill(data);
    Sha256 hash;
    for (int round = 0; round < 2; ++round) {
        for (std::size_t at = 0; at < data.size();) {
            const std::size_t count = std::min<std::size_t>(data.size() - at, random.below(200));
            hash.update(ByteSpan(data).subspan(at, count));
            at += count;
        }
        EXPECT_EQ(hash.finish(), sha256(data));
    }
}

TEST(Hkdf, ExpandAloneAndLimits) {
    Bytes key(32);
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(i);
    Bytes out(32);
    ASSERT_TRUE(hkdf_sha512_expand(key, as_bytes("info"), out));
    EXPECT_EQ(to_hex(out), "d40d67a9d7c34ec3c2c3eca41e6f25e08441c93422575b091a5d9f9cb9bd6da3");
    Bytes most(255 * 64);
    EXPECT_TRUE(hkdf_sha512_expand(key, {}, most));
    Bytes more(255 * 64 + 1);
    EXPECT_EQ(hkdf_sha512_expand(key, {}, more).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(hkdf_sha512_expand({}, {}, out).error().code(), Code::kInvalidArgument);
}

TEST(Aead, EveryAlteredByteIsRefusedAndNothingIsReleased) {
    SeededRandom random(3);
    const auto key = Secret<32>::from_random(random);
    std::array<std::uint8_t, 24> nonce;
    random.fill(nonce);
    const Bytes plaintext(40, 0x5a);
    Bytes sealed(plaintext.size() + kAeadTagBytes);
    Aes256Gcm gcm(key.view());
    const auto short_nonce = std::span(nonce).first<12>();
    for (const bool use_gcm : {false, true}) {
        if (use_gcm)
            gcm.seal(short_nonce, as_bytes("aad"), plaintext, sealed);
        else
            xchacha20_seal(key.view(), nonce, as_bytes("aad"), plaintext, sealed);
        for (std::size_t i = 0; i < sealed.size(); ++i) {
            sealed[i] ^= 0x80;
            Bytes out(plaintext.size());
            const Status status = use_gcm ? gcm.open(short_nonce, as_bytes("aad"), sealed, out)
                                          : xchacha20_open(key.view(), nonce, as_bytes("aad"), sealed, out);
            ASSERT_FALSE(status);
            EXPECT_EQ(status.error().code(), Code::kIntegrity);
            EXPECT_EQ(out, Bytes(plaintext.size()));
            sealed[i] ^= 0x80;
        }
        Bytes out(plaintext.size());
        EXPECT_TRUE(use_gcm ? gcm.open(short_nonce, as_bytes("aad"), sealed, out)
                            : xchacha20_open(key.view(), nonce, as_bytes("aad"), sealed, out));
        EXPECT_EQ(out, plaintext);
        EXPECT_FALSE(use_gcm ? gcm.open(short_nonce, as_bytes("aae"), sealed, out)
                             : xchacha20_open(key.view(), nonce, as_bytes("aae"), sealed, out));
        EXPECT_FALSE(use_gcm ? gcm.open(short_nonce, {}, ByteSpan(sealed).first(15), {})
                             : xchacha20_open(key.view(), nonce, {}, ByteSpan(sealed).first(15), {}));
    }
}

TEST(Aead, EmptyPlaintext) {
    SeededRandom random(4);
    const auto key = Secret<32>::from_random(random);
    const std::array<std::uint8_t, 24> nonce{};
    std::array<std::uint8_t, 16> sealed;
    xchacha20_seal(key.view(), nonce, {}, {}, sealed);
    EXPECT_TRUE(xchacha20_open(key.view(), nonce, {}, sealed, {}));
    Aes256Gcm gcm(key.view());
    gcm.seal(std::span(nonce).first<12>(), {}, {}, sealed);
    EXPECT_TRUE(gcm.open(std::span(nonce).first<12>(), {}, sealed, {}));
}

// libsodium signs and verifies; OpenSSL must agree on both.
TEST(Ed25519, LibrariesAgree) {
    SeededRandom random(5);
    for (int round = 0; round < 20; ++round) {
        const auto key = Ed25519PrivateKey::generate(random);
        Bytes message(random.below(300));
        random.fill(message);
        const Ed25519Signature ours = key.sign(message);

        EVP_PKEY* const other =
            EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, key.seed().data(), 32);
        EVP_MD_CTX* context = EVP_MD_CTX_new();
        Ed25519Signature theirs;
        std::size_t length = theirs.size();
        ASSERT_EQ(EVP_DigestSignInit(context, nullptr, nullptr, nullptr, other), 1);
        ASSERT_EQ(EVP_DigestSign(context, theirs.data(), &length, message.data(), message.size()), 1);
        EVP_MD_CTX_free(context);
        EXPECT_EQ(ours, theirs);

        context = EVP_MD_CTX_new();
        ASSERT_EQ(EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, other), 1);
        EXPECT_EQ(EVP_DigestVerify(context, ours.data(), ours.size(), message.data(), message.size()), 1);
        EVP_MD_CTX_free(context);
        EVP_PKEY_free(other);
        EXPECT_TRUE(ed25519_verify(key.public_key(), message, theirs));
    }
}

TEST(Ed25519, WrongLengthsAreRefused) {
    SeededRandom random(6);
    const auto key = Ed25519PrivateKey::generate(random);
    const auto signature = key.sign(as_bytes("m"));
    EXPECT_TRUE(ed25519_verify(key.public_key(), as_bytes("m"), signature));
    EXPECT_EQ(ed25519_verify(key.public_key(), as_bytes("m"), ByteSpan(signature).first(63)).error().code(),
              Code::kIntegrity);
    EXPECT_FALSE(ed25519_verify(ByteSpan(key.public_key()).first(31), as_bytes("m"), signature));
    EXPECT_FALSE(ed25519_verify({}, as_bytes("m"), {}));
}

TEST(Ed25519, PemRoundTrip) {
    SeededRandom random(7);
    const auto key = Ed25519PrivateKey::generate(random);
    const SecretBytes plain = key.to_pkcs8_pem();
    EXPECT_TRUE(plain.text().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    EXPECT_EQ(Ed25519PrivateKey::from_pkcs8_pem(plain.text())->public_key(), key.public_key());

    const SecretBytes sealed = key.to_pkcs8_pem("open sesame");
    EXPECT_TRUE(sealed.text().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    EXPECT_EQ(Ed25519PrivateKey::from_pkcs8_pem(sealed.text(), "open sesame")->public_key(),
              key.public_key());
    EXPECT_EQ(Ed25519PrivateKey::from_pkcs8_pem(sealed.text()).error().code(), Code::kUnauthenticated);
    EXPECT_EQ(Ed25519PrivateKey::from_pkcs8_pem(sealed.text(), "wrong").error().code(),
              Code::kUnauthenticated);

    const std::string pem = ed25519_public_key_to_pem(key.public_key());
    EXPECT_EQ(ed25519_public_key_from_pem(pem).value(), key.public_key());
    EXPECT_EQ(ed25519_public_key_from_pem("junk").error().code(), Code::kInvalidArgument);
    EXPECT_EQ(Ed25519PrivateKey::from_pkcs8_pem("").error().code(), Code::kInvalidArgument);
    EXPECT_EQ(Ed25519PrivateKey::from_pkcs8_pem(pem).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(ed25519_public_key_from_pem(plain.text()).error().code(), Code::kInvalidArgument);
}

TEST(Argon2, KnownAnswerAndBounds) {
    std::array<std::uint8_t, 16> salt;
    for (std::size_t i = 0; i < salt.size(); ++i) salt[i] = static_cast<std::uint8_t>(i);
    Bytes out(32);
    ASSERT_TRUE(argon2id(as_bytes("correct horse battery staple"), salt, {3, 1 << 20}, out));
    EXPECT_EQ(to_hex(out), "590d7ddd37a1ed86417a3614be47c9f782828a38902390018d39bb6556fee029");
    EXPECT_TRUE(argon2id({}, salt, {1, 8 << 10}, out));
    EXPECT_EQ(argon2id(as_bytes("x"), salt, {0, 1 << 20}, out).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(argon2id(as_bytes("x"), salt, {1, 1 << 10}, out).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(argon2id(as_bytes("x"), salt, {1, 1ULL << 50}, out).error().code(), Code::kInvalidArgument);

    const Argon2Limits limits;
    EXPECT_TRUE(limits.check(Argon2Cost{}));
    EXPECT_EQ(limits.check({1, 256 << 20}).error().code(), Code::kIntegrity);
    EXPECT_FALSE(limits.check({17, 256 << 20}));
    EXPECT_FALSE(limits.check({3, (1ULL << 30) + 1}));
    EXPECT_FALSE(limits.check({3, (16ULL << 20) - 1}));
}

TEST(SealedBox, OnlyTheHolderReadsIt) {
    SeededRandom random(8);
    const auto alice = X25519KeyPair::generate(random);
    const auto bob = X25519KeyPair::generate(random);
    Bytes box = seal_to(alice.public_key, as_bytes("audit key")).value();
    EXPECT_EQ(open_sealed(alice, box)->text(), "audit key");
    EXPECT_EQ(open_sealed(bob, box).error().code(), Code::kIntegrity);
    for (std::size_t i = 0; i < box.size(); ++i) {
        box[i] ^= 1;
        EXPECT_FALSE(open_sealed(alice, box)) << i;
        box[i] ^= 1;
    }
    EXPECT_FALSE(open_sealed(alice, ByteSpan(box).first(47)));
    EXPECT_TRUE(open_sealed(alice, seal_to(alice.public_key, {}).value())->empty());
    EXPECT_EQ(seal_to({}, as_bytes("x")).error().code(), Code::kIntegrity);
}

}  // namespace
}  // namespace ostal::security
