// The server's certificate: self-signed while new, then by a local CA whose key only the keystore opens.
//
// Under tls/: leaf.pem and leaf.key (0600: the server must speak TLS while sealed), ca.pem, and ca.key.sealed,
// encrypted under the service key "ca".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/result.h"
#include "security/secret.h"

namespace ostal {

namespace tls {
class PrivateKey;
}

class ServerIdentity {
public:
    // Loads the leaf under `folder`, or makes a self-signed one for `hosts`.
    static Result<std::unique_ptr<ServerIdentity>> open(Files& files, const Clock& clock, RandomSource& random,
                                                        const std::string& folder, const std::vector<std::string>& hosts);
    // A new local CA and a leaf by it for `hosts` (names and IP addresses).
    Status issue(security::KeyView ca_key, const std::vector<std::string>& hosts);

    const std::string& certificate_pem() const { return certificate_pem_; }
    const security::SecretBytes& private_key_pem() const { return private_key_pem_; }
    const std::string& fingerprint() const { return fingerprint_; }  // SHA-256 of the leaf, "AB:CD:..."
    std::string ca_path() const { return join_path(folder_, "ca.pem"); }

private:
    ServerIdentity(Files& files, const Clock& clock, RandomSource& random, std::string folder)
        : files_(files), clock_(clock), random_(random), folder_(std::move(folder)) {}
    Status store(const std::string& certificate_pem, const tls::PrivateKey& key);
    Files& files_;
    const Clock& clock_;
    RandomSource& random_;
    const std::string folder_;
    std::string certificate_pem_;
    security::SecretBytes private_key_pem_;
    std::string fingerprint_;
};

}  // namespace ostal
