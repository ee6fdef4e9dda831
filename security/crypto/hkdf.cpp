#include "security/crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/check.h"
#include "security/crypto/openssl_ptr.h"

namespace ostal::security {
namespace {

constexpr std::size_t kMaxOutputBytes = 255 * 64;  // RFC 5869 section 2.3 with SHA-512

// OSSL_PARAM takes non-const pointers for values it only reads.
OSSL_PARAM octets(const char* name, ByteSpan bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()), bytes.size());
}

Status derive(int mode, ByteSpan key, ByteSpan salt, ByteSpan info, MutableByteSpan out) {
    if (out.empty() || out.size() > kMaxOutputBytes) {
        return fail(Code::kInvalidArgument, "HKDF-SHA-512 yields 1 to 16320 bytes");
    }
    if (key.empty()) return fail(Code::kInvalidArgument, "HKDF needs a key");
    static EVP_KDF* const algorithm = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
    CHECK(algorithm != nullptr);
    const OpensslPtr<EVP_KDF_CTX, EVP_KDF_CTX_free> context(EVP_KDF_CTX_new(algorithm));
    CHECK(context != nullptr);
    char digest_name[] = "SHA512";
    OSSL_PARAM parameters[6];
    std::size_t count = 0;
    parameters[count++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    parameters[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest_name, 0);
    parameters[count++] = octets(OSSL_KDF_PARAM_KEY, key);
    if (!salt.empty()) parameters[count++] = octets(OSSL_KDF_PARAM_SALT, salt);
    if (!info.empty()) parameters[count++] = octets(OSSL_KDF_PARAM_INFO, info);
    parameters[count] = OSSL_PARAM_construct_end();
    if (EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) != 1) {
        ERR_clear_error();
        return fail(Code::kInternal, "HKDF-SHA-512 failed");
    }
    return {};
}

}  // namespace

Status hkdf_sha512(ByteSpan input_key, ByteSpan salt, ByteSpan info, MutableByteSpan out) {
    return derive(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, input_key, salt, info, out);
}

Status hkdf_sha512_expand(ByteSpan key, ByteSpan info, MutableByteSpan out) {
    return derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, key, {}, info, out);
}

}  // namespace ostal::security
