// The server's certificate: self-signed while new, then by a local CA whose key only the keystore opens.
//
// Under tls/: leaf.pem and leaf.key (0600: the server must speak TLS while sealed), ca.pem, and ca.key.sealed,
// encrypted under the service key "ca".
#pragma once

#include <memory>
#include <mutex>
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

    // Copies: set-up replaces the certificate while others ask for it.
    std::string certificate_pem() const;
    security::SecretBytes private_key_pem() const;
    std::string fingerprint() const;  // SHA-256 of the leaf, "AB:CD:..."
    std::string ca_path() const { return join_path(folder_, "ca.pem"); }

private:
    ServerIdentity(Files& files, const Clock& clock, RandomSource& random, std::string folder)
        : files_(files), clock_(clock), random_(random), folder_(std::move(folder)) {}
    Status store(const std::string& certificate_pem, const tls::PrivateKey& key);
    Files& files_;
    const Clock& clock_;
    RandomSource& random_;
    const std::string folder_;
    mutable std::mutex mutex_;  // the three below
    std::string certificate_pem_;
    security::SecretBytes private_key_pem_;
    std::string fingerprint_;
};

}  // namespace ostal
