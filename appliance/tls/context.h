// The TLS settings of a listener: one certificate chain, one key, TLS 1.3.
//
// Profile: TLS 1.3, or 1.2 with ECDHE and AEAD where configured; X25519, P-256, P-384; the server's order;
// ALPN http/1.1; no tickets, no resumption, no early data, no compression, no renegotiation.
#pragma once

#include <memory>
#include <vector>

#include "appliance/tls/certificate.h"
#include "base/clock.h"
#include "base/result.h"

struct ssl_ctx_st;

namespace ostal::tls {

// Immutable and thread-safe: a reload makes a new one and hands it to Server::set_tls.
class Context {
public:
    struct Settings {
        std::vector<Certificate> chain;  // leaf first, then intermediates
        bool allow_tls12 = false;
    };
    // Checks before anybody uses it: the key is the leaf's, every certificate is valid now and issued by the
    // next, the leaf has names and may be a server's. kInvalidArgument says which of these fails.
    static Result<std::shared_ptr<const Context>> make(const Settings& settings, const PrivateKey& key,
                                                       const Clock& clock);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    const Certificate& leaf() const { return leaf_; }
    ssl_ctx_st* native() const { return context_; }

private:
    Context(ssl_ctx_st* owned, Certificate leaf) : context_(owned), leaf_(std::move(leaf)) {}
    ssl_ctx_st* context_;
    Certificate leaf_;
};

}  // namespace ostal::tls
