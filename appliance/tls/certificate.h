// Private keys and X.509 certificates of the daemon's listeners, by OpenSSL.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

struct evp_pkey_st;
struct x509_st;

namespace ostal::tls {

enum class Curve { kP256, kP384 };

// Shared, immutable, thread-safe. The key lies in OpenSSL's memory and is wiped when the last copy goes.
class PrivateKey {
public:
    // From the operating system's randomness. kInternal when OpenSSL fails.
    static Result<PrivateKey> generate(Curve curve);
    // One unencrypted PEM key (PKCS#8, SEC 1 or PKCS#1): EC P-256 or P-384, Ed25519, or RSA of 2048 bits or
    // more. kInvalidArgument otherwise, kUnsupported for another kind. The bytes stay the caller's to wipe.
    static Result<PrivateKey> from_pem(ByteSpan pem);
    // Calls `use` with the key as PKCS#8 PEM and wipes those bytes afterwards; returns what `use` returns.
    Status with_pem(const std::function<Status(ByteSpan)>& use) const;

    evp_pkey_st* native() const { return key_.get(); }

private:
    explicit PrivateKey(evp_pkey_st* owned);
    std::shared_ptr<evp_pkey_st> key_;
};

// Shared, immutable, thread-safe.
class Certificate {
public:
    // The one certificate in `pem`. kInvalidArgument when there is none, more, or something else.
    static Result<Certificate> from_pem(std::string_view pem);
    // All of them, in order; at least one, at most 8.
    static Result<std::vector<Certificate>> chain_from_pem(std::string_view pem);
    // Takes over one reference.
    static Certificate adopt(x509_st* owned);

    std::string to_pem() const;
    // SHA-256 over the DER form: "AB:CD:...", 95 characters.
    std::string fingerprint() const;
    std::string subject() const;  // RFC 2253
    std::string issuer() const;
    std::int64_t not_before_us() const;
    std::int64_t not_after_us() const;
    // DNS names and IP addresses of the subject alternative name, as text.
    std::vector<std::string> names() const;
    bool matches(const PrivateKey& key) const;
    // `issuer` is named as its issuer, may sign certificates, and did sign it.
    bool is_issued_by(const Certificate& issuer) const;

    x509_st* native() const { return certificate_.get(); }

private:
    explicit Certificate(x509_st* owned);
    std::shared_ptr<x509_st> certificate_;
};

}  // namespace ostal::tls
