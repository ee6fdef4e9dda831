#include "security/crypto/self_test.h"

#include <sodium.h>

#include <functional>
#include <string>

#include "base/check.h"
#include "security/crypto/aead.h"
#include "security/crypto/argon2.h"
#include "security/crypto/ed25519.h"
#include "security/crypto/hash.h"
#include "security/crypto/hkdf.h"
#include "security/crypto/x25519.h"

namespace ostal::security {
namespace {

Bytes hex(std::string_view text) { return from_hex(text).value(); }

// 0, 1, 2, ...
template <std::size_t N>
std::array<std::uint8_t, N> counting() {
    std::array<std::uint8_t, N> out;
    for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::uint8_t>(i);
    return out;
}

template <std::size_t N>
std::array<std::uint8_t, N> hex_array(std::string_view text) {
    const Bytes bytes = hex(text);
    CHECK_EQ(bytes.size(), N);
    std::array<std::uint8_t, N> out;
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return out;
}

bool same(ByteSpan a, std::string_view expected_hex) { return constant_time_equal(a, hex(expected_hex)); }

// FIPS 180-4, example "abc".
bool sha256_works() {
    return same(sha256(as_bytes("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// RFC 4231, test case 2.
bool hmac_works() {
    return same(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?")),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// The inputs of RFC 5869, test case 1, with SHA-512.
bool hkdf_works() {
    Bytes out(42);
    return hkdf_sha512(Bytes(22, 0x0b), hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"),
                       out) &&
           same(out, "832390086cda71fb47625bb5ceb168e4c8e26a1a16ed34d9fc7fe92c1481579338da362cb8d9f925d7cb");
}

bool aes_gcm_works() {
    const auto key = counting<32>();
    const auto nonce = counting<12>();
    const ByteSpan plaintext = as_bytes("ostal self-test");
    Aes256Gcm cipher(key);
    Bytes sealed(plaintext.size() + kAeadTagBytes);
    cipher.seal(nonce, as_bytes("aad"), plaintext, sealed);
    if (!same(sealed, "2871a27aa9c5b17ee127baffd49a0cd00eaa0ca93f59c64e681cf67ee21a0d")) return false;
    Bytes opened(plaintext.size());
    if (!cipher.open(nonce, as_bytes("aad"), sealed, opened)) return false;
    if (!constant_time_equal(opened, plaintext)) return false;
    sealed[0] ^= 1;
    return !cipher.open(nonce, as_bytes("aad"), sealed, opened);
}

// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
bool xchacha_works() {
    const auto key = hex_array<32>("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    const auto nonce = hex_array<24>("404142434445464748494a4b4c4d4e4f5051525354555657");
    const Bytes aad = hex("50515253c0c1c2c3c4c5c6c7");
    const ByteSpan plaintext = as_bytes(
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        "sunscreen "
        "would be it.");
    Bytes sealed(plaintext.size() + kAeadTagBytes);
    xchacha20_seal(key, nonce, aad, plaintext, sealed);
    if (!same(ByteSpan(sealed).last(kAeadTagBytes), "c0875924c1c7987947deafd8780acf49")) return false;
    Bytes opened(plaintext.size());
    if (!xchacha20_open(key, nonce, aad, sealed, opened)) return false;
    if (!constant_time_equal(opened, plaintext)) return false;
    sealed[0] ^= 1;
    return !xchacha20_open(key, nonce, aad, sealed, opened);
}

// RFC 8032 section 7.1, test 2.
bool ed25519_works() {
    const auto seed = hex_array<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    const auto key = Ed25519PrivateKey::from_seed(seed);
    const Bytes message = hex("72");
    Ed25519Signature signature = key.sign(message);
    if (!same(key.public_key(), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c") ||
        !same(signature,
              "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")) {
        return false;
    }
    if (!ed25519_verify(key.public_key(), message, signature)) return false;
    signature[0] ^= 1;
    return !ed25519_verify(key.public_key(), message, signature);
}

// RFC 7748 section 5.2, first vector.
bool x25519_works() {
    const auto shared =
        x25519(hex_array<32>("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
               hex_array<32>("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"));
    return shared &&
           same(shared->bytes(), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

// Made with another implementation (OpenSSL 3.2 and later): 2 passes, 64 KiB, salt 00 01 .. 0f.
bool argon2id_works() {
    Bytes out(32);
    return argon2id(as_bytes("ostal self-test"), counting<16>(), {2, 64 << 10}, out) &&
           same(out, "ed58e06eecb04a3d1935ca2e9301c9b6b81f340ea7d4e9db32c8ced36a579405");
}

struct Check {
    const char* name;
    bool (*works)();
};
constexpr Check kChecks[] = {
    {"SHA-256", sha256_works},      {"HMAC-SHA-256", hmac_works},          {"HKDF-SHA-512", hkdf_works},
    {"AES-256-GCM", aes_gcm_works}, {"XChaCha20-Poly1305", xchacha_works}, {"Ed25519", ed25519_works},
    {"X25519", x25519_works},       {"Argon2id", argon2id_works},
};

}  // namespace

void init_crypto() {
    static const int result = sodium_init();
    CHECK_GE(result, 0);
}

Status self_test() {
    init_crypto();
    for (const Check& check : kChecks) {
        if (!check.works()) {
            return fail(Code::kIntegrity, std::string("cryptographic self-test failed: ") + check.name);
        }
    }
    return {};
}

}  // namespace ostal::security
