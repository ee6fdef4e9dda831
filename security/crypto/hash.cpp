#include "security/crypto/hash.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/check.h"
#include "security/crypto/openssl_ptr.h"

namespace ostal::security {
namespace {

// Fetched once: a fetch by name for each digest costs more than hashing a short message.
const EVP_MD* sha256_algorithm() {
    static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    CHECK(algorithm != nullptr);
    return algorithm;
}

EVP_MAC* hmac_algorithm() {
    static EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    CHECK(algorithm != nullptr);
    return algorithm;
}

}  // namespace

// Digests of memory fail for want of memory alone, so failures are CHECKed.
Digest32 sha256(ByteSpan bytes) {
    Digest32 out;
    CHECK_EQ(EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, sha256_algorithm(), nullptr), 1);
    return out;
}

struct Sha256::State {
    OpensslPtr<EVP_MD_CTX, EVP_MD_CTX_free> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
    CHECK_EQ(EVP_DigestInit_ex(state_->context.get(), sha256_algorithm(), nullptr), 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(ByteSpan bytes) {
    CHECK_EQ(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()), 1);
}

Digest32 Sha256::finish() {
    Digest32 out;
    CHECK_EQ(EVP_DigestFinal_ex(state_->context.get(), out.data(), nullptr), 1);
    CHECK_EQ(EVP_DigestInit_ex(state_->context.get(), sha256_algorithm(), nullptr), 1);
    return out;
}

Digest32 hmac_sha256(ByteSpan key, ByteSpan message) {
    HmacSha256 mac(key);
    mac.update(message);
    return mac.finish();
}

struct HmacSha256::State {
    OpensslPtr<EVP_MAC_CTX, EVP_MAC_CTX_free> context{EVP_MAC_CTX_new(hmac_algorithm())};
};

HmacSha256::HmacSha256(ByteSpan key) : state_(std::make_unique<State>()) {
    char digest_name[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
                                     OSSL_PARAM_construct_end()};
    // A null pointer would mean "keep the key of before".
    static const std::uint8_t kNothing = 0;
    const std::uint8_t* const from = key.empty() ? &kNothing : key.data();
    CHECK_EQ(EVP_MAC_init(state_->context.get(), from, key.size(), parameters), 1);
}
HmacSha256::~HmacSha256() = default;
HmacSha256::HmacSha256(HmacSha256&&) noexcept = default;
HmacSha256& HmacSha256::operator=(HmacSha256&&) noexcept = default;

void HmacSha256::update(ByteSpan bytes) {
    CHECK_EQ(EVP_MAC_update(state_->context.get(), bytes.data(), bytes.size()), 1);
}

Digest32 HmacSha256::finish() {
    Digest32 out;
    std::size_t length = 0;
    CHECK_EQ(EVP_MAC_final(state_->context.get(), out.data(), &length, out.size()), 1);
    CHECK_EQ(length, out.size());
    return out;
}

}  // namespace ostal::security
