// The Wycheproof vectors (tests/vectors) through our own interfaces. Each test counts what it ran, and what
// our interface cannot even express (other key and nonce sizes), so that no case is left out unseen.
#include <gtest/gtest.h>

#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "security/crypto/aead.h"
#include "security/crypto/ed25519.h"
#include "security/crypto/hash.h"
#include "security/crypto/hkdf.h"
#include "security/crypto/x25519.h"

namespace ostal::security {
namespace {

class Case {
public:
    Case(const json::Value& group, const json::Value& test) : group_(group), test_(test) {}
    Bytes bytes(const char* key) const { return from_hex(test_.find(key)->as_string()).value(); }
    std::int64_t number(const char* key) const { return test_.find(key)->to_int64().value(); }
    std::int64_t group_number(const char* key) const { return group_.find(key)->to_int64().value(); }
    const json::Value& group() const { return group_; }
    bool is(const char* result) const { return test_.find("result")->as_string() == result; }
    std::string name() const {
        return "tcId " + std::to_string(number("tcId")) + ": " + test_.find("comment")->as_string();
    }

private:
    const json::Value& group_;
    const json::Value& test_;
};

// Runs `check` over every case; the file's own count must be met.
void for_each_case(const std::string& file, const std::function<void(const Case&)>& check) {
    PosixFiles files;
    const Bytes text = read_file(files, join_path(OSTAL_SOURCE_DIR "/tests/vectors", file), 8 << 20).value();
    const json::Value root = json::parse(as_text(text)).value();
    std::int64_t count = 0;
    for (const json::Value& group : root.find("testGroups")->as_array()) {
        for (const json::Value& test : group.find("tests")->as_array()) {
            const Case one(group, test);
            SCOPED_TRACE(one.name());
            check(one);
            ++count;
        }
    }
    EXPECT_EQ(count, root.find("numberOfTests")->to_int64().value());
}

template <std::size_t N>
std::span<const std::uint8_t, N> exactly(const Bytes& bytes) {
    EXPECT_EQ(bytes.size(), N);
    return std::span<const std::uint8_t, N>(bytes.data(), N);
}

Bytes joined(Bytes a, const Bytes& b) {
    append(a, b);
    return a;
}

template <typename Seal, typename Open>
void check_aead(const Case& test, Seal seal, Open open) {
    const Bytes message = test.bytes("msg");
    const Bytes sealed = joined(test.bytes("ct"), test.bytes("tag"));
    Bytes opened(sealed.size() - kAeadTagBytes);
    const Status status = open(sealed, opened);
    EXPECT_EQ(status.has_value(), test.is("valid"));
    if (!test.is("valid")) {
        EXPECT_EQ(status.error().code(), Code::kIntegrity);
        return;
    }
    EXPECT_EQ(opened, message);
    Bytes ours(message.size() + kAeadTagBytes);
    seal(message, ours);
    EXPECT_EQ(ours, sealed);
}

TEST(Wycheproof, Aes256Gcm) {
    int run = 0;
    int other_sizes = 0;
    for_each_case("aes_gcm_test.json", [&](const Case& test) {
        if (test.group_number("keySize") != 256 || test.group_number("ivSize") != 96) {
            ++other_sizes;
            return;
        }
        ++run;
        const Bytes key = test.bytes("key");
        const Bytes nonce = test.bytes("iv");
        const Bytes aad = test.bytes("aad");
        Aes256Gcm cipher(exactly<32>(key));
        check_aead(
            test, [&](ByteSpan in, MutableByteSpan out) { cipher.seal(exactly<12>(nonce), aad, in, out); },
            [&](ByteSpan in, MutableByteSpan out) { return cipher.open(exactly<12>(nonce), aad, in, out); });
    });
    EXPECT_EQ(run, 66);
    EXPECT_EQ(other_sizes, 250);
}

TEST(Wycheproof, XChaCha20Poly1305) {
    int run = 0;
    int other_sizes = 0;
    for_each_case("xchacha20_poly1305_test.json", [&](const Case& test) {
        if (test.group_number("ivSize") != 192) {
            ++other_sizes;
            return;
        }
        ++run;
        const Bytes key = test.bytes("key");
        const Bytes nonce = test.bytes("iv");
        const Bytes aad = test.bytes("aad");
        check_aead(
            test,
            [&](ByteSpan in, MutableByteSpan out) {
                xchacha20_seal(exactly<32>(key), exactly<24>(nonce), aad, in, out);
            },
            [&](ByteSpan in, MutableByteSpan out) {
                return xchacha20_open(exactly<32>(key), exactly<24>(nonce), aad, in, out);
            });
    });
    EXPECT_EQ(run, 306);
    EXPECT_EQ(other_sizes, 9);
}

TEST(Wycheproof, HmacSha256) {
    int run = 0;
    for_each_case("hmac_sha256_test.json", [&](const Case& test) {
        ++run;
        const Digest32 mac = hmac_sha256(test.bytes("key"), test.bytes("msg"));
        const auto length = static_cast<std::size_t>(test.group_number("tagSize") / 8);
        const Bytes tag = test.bytes("tag");
        EXPECT_EQ(constant_time_equal(ByteSpan(mac).first(length), tag), test.is("valid"));
    });
    EXPECT_EQ(run, 174);
}

TEST(Wycheproof, HkdfSha512) {
    int run = 0;
    for_each_case("hkdf_sha512_test.json", [&](const Case& test) {
        ++run;
        Bytes out(static_cast<std::size_t>(test.number("size")));
        const Status status = hkdf_sha512(test.bytes("ikm"), test.bytes("salt"), test.bytes("info"), out);
        EXPECT_EQ(status.has_value(), test.is("valid"));
        if (test.is("valid")) {
            EXPECT_EQ(out, test.bytes("okm"));
        }
    });
    EXPECT_EQ(run, 83);
}

TEST(Wycheproof, Ed25519) {
    int run = 0;
    for_each_case("ed25519_test.json", [&](const Case& test) {
        ++run;
        const Bytes key = from_hex(test.group().find("publicKey")->find("pk")->as_string()).value();
        const Status status = ed25519_verify(key, test.bytes("msg"), test.bytes("sig"));
        EXPECT_EQ(status.has_value(), test.is("valid"));
        const auto from_pem = ed25519_public_key_from_pem(test.group().find("publicKeyPem")->as_string());
        ASSERT_TRUE(from_pem);
        EXPECT_EQ(Bytes(from_pem->begin(), from_pem->end()), key);
    });
    EXPECT_EQ(run, 151);
}

TEST(Wycheproof, X25519) {
    int run = 0;
    int refused = 0;
    for_each_case("x25519_test.json", [&](const Case& test) {
        ++run;
        const Bytes private_key = test.bytes("private");
        const Bytes public_key = test.bytes("public");
        const Bytes shared = test.bytes("shared");
        X25519PublicKey key;
        ASSERT_EQ(public_key.size(), key.size());
        std::copy(public_key.begin(), public_key.end(), key.begin());
        const auto ours = x25519(exactly<32>(private_key), key);
        if (shared == Bytes(32)) {
            // "acceptable" to Wycheproof; we refuse points of small order.
            EXPECT_TRUE(test.is("acceptable"));
            EXPECT_FALSE(ours);
            ++refused;
            return;
        }
        ASSERT_TRUE(ours);
        EXPECT_TRUE(constant_time_equal(ours->bytes(), shared));
    });
    EXPECT_EQ(run, 518);
    EXPECT_EQ(refused, 31);
}

}  // namespace
}  // namespace ostal::security
