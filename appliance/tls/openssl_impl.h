// Owners of OpenSSL's objects, and its error queue as an Error. For the .cpp files of this folder.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace ostal::tls {

template <auto kFree>
struct Free {
    template <typename T>
    void operator()(T* object) const {
        kFree(object);
    }
};
using OwnedBio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using OwnedX509 = std::unique_ptr<X509, Free<X509_free>>;
using OwnedRequest = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using OwnedKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using OwnedNames = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;
using OwnedExtension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

// kInternal with OpenSSL's last reason; empties its queue.
inline tl::unexpected<Error> openssl_error(const std::string& what) {
    const unsigned long code = ERR_peek_last_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    ERR_clear_error();
    return fail(Code::kInternal, what + ": OpenSSL: " + (reason == nullptr ? "no reason given" : reason));
}

// A BIO that reads `bytes`, which outlive it.
inline OwnedBio reading_bio(ByteSpan bytes) {
    return OwnedBio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

// What was written to a memory BIO; valid as long as the BIO.
inline ByteSpan bio_content(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
    return {reinterpret_cast<const std::uint8_t*>(data), size > 0 ? static_cast<std::size_t>(size) : 0U};
}

}  // namespace ostal::tls
