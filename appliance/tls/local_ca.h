// The local certificate authority: issues the listener's leaf where the customer has no PKI of his own.
//
// RFC 5280 profile. CA: pathLen 0, keyCertSign and cRLSign, 10 years. Leaf: digitalSignature, serverAuth,
// subject alternative names, 397 days. Serials are 126 random bits.
#pragma once

#include <string>
#include <vector>

#include "appliance/tls/certificate.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"

namespace ostal::tls {

inline constexpr int kCaDays = 3650;
inline constexpr int kLeafDays = 397;

// Whom a leaf is for. IP addresses and DNS names may be mixed; the first is the subject's common name.
struct LeafRequest {
    std::vector<std::string> names = {"localhost", "127.0.0.1"};
    int days = kLeafDays;
};

class LocalCa {
public:
    struct Options {
        std::string name = "Ostal local CA";     // the subject's common name
        Curve curve = Curve::kP384;
        std::vector<std::string> permitted_dns;  // name constraints: only names in these zones; empty: any
        int days = kCaDays;
    };
    static Result<LocalCa> create(const Options& options, const Clock& clock, RandomSource& random);
    // kInvalidArgument when they do not belong together or this is no CA.
    static Result<LocalCa> load(Certificate certificate, PrivateKey key);

    const Certificate& certificate() const { return certificate_; }
    const PrivateKey& key() const { return key_; }
    // A leaf for `key`'s public half, valid from now (one hour back, for clocks that differ) for
    // `request.days` but not beyond the CA. kInvalidArgument for a name that is no DNS name or IP address;
    // kUnavailable when the CA has expired.
    Result<Certificate> issue(const PrivateKey& key, const LeafRequest& request, const Clock& clock,
                              RandomSource& random) const;

private:
    LocalCa(Certificate certificate, PrivateKey key)
        : certificate_(std::move(certificate)), key_(std::move(key)) {}
    Certificate certificate_;
    PrivateKey key_;
};

// The leaf of an appliance that is not set up yet: signed by itself.
Result<Certificate> self_signed(const PrivateKey& key, const LeafRequest& request, const Clock& clock,
                                RandomSource& random);

// A PKCS#10 request (PEM) for the customer's own PKI.
Result<std::string> certificate_request(const PrivateKey& key, const LeafRequest& request);

}  // namespace ostal::tls
