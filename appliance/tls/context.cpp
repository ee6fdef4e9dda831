#include "appliance/tls/context.h"

#include <openssl/ssl.h>

#include "appliance/tls/openssl_impl.h"

namespace ostal::tls {
namespace {

constexpr const char* kGroups = "X25519:P-256:P-384";
constexpr const char* kSuites13 = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
constexpr const char* kSuites12 =
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256";
constexpr unsigned char kAlpn[] = "\x08http/1.1";

// A client that offers protocols but not ours gets the alert no_application_protocol (RFC 7301, 3.2).
int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                unsigned offered_size, void*) {
    unsigned char* chosen = nullptr;
    const int found = SSL_select_next_proto(&chosen, out_size, kAlpn, sizeof kAlpn - 1, offered, offered_size);
    if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

Status check_chain(const std::vector<Certificate>& chain, const PrivateKey& key, const Clock& clock) {
    if (chain.empty()) return fail(Code::kInvalidArgument, "there is no certificate for the listener");
    const Certificate& leaf = chain.front();
    if (!leaf.matches(key)) return fail(Code::kInvalidArgument, "the private key is not the certificate's");
    if (leaf.names().empty()) {
        return fail(Code::kInvalidArgument, "the certificate has no subject alternative names");
    }
    if (X509_check_purpose(leaf.native(), X509_PURPOSE_SSL_SERVER, 0) != 1) {
        return fail(Code::kInvalidArgument, "the certificate is not one for a TLS server");
    }
    const std::int64_t now = clock.wall_now_us();
    for (std::size_t i = 0; i < chain.size(); ++i) {
        const std::string who = "the certificate of " + chain[i].subject();
        if (now < chain[i].not_before_us()) {
            return fail(Code::kInvalidArgument, who + " is not valid yet: check this machine's clock");
        }
        if (now >= chain[i].not_after_us()) return fail(Code::kInvalidArgument, who + " has expired");
        if (i + 1 < chain.size() && !chain[i].is_issued_by(chain[i + 1])) {
            return fail(Code::kInvalidArgument, who + " was not issued by the next one in the chain");
        }
    }
    return {};
}

}  // namespace

Result<std::shared_ptr<const Context>> Context::make(const Settings& settings, const PrivateKey& key,
                                                     const Clock& clock) {
    OSTAL_TRYV(check_chain(settings.chain, key, clock));
    std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>> context(SSL_CTX_new(TLS_server_method()));
    if (!context) return openssl_error("making a TLS context");
    SSL_CTX* const ctx = context.get();
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);  // an idle connection holds no record buffers
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, nullptr);
    const int min_version = settings.allow_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    const bool set = SSL_CTX_set_min_proto_version(ctx, min_version) == 1 &&
                     SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                     SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
                     SSL_CTX_set1_groups_list(ctx, kGroups) == 1 &&
                     SSL_CTX_set_ciphersuites(ctx, kSuites13) == 1 &&
                     SSL_CTX_set_cipher_list(ctx, kSuites12) == 1 &&
                     SSL_CTX_use_certificate(ctx, settings.chain.front().native()) == 1 &&
                     SSL_CTX_use_PrivateKey(ctx, key.native()) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    if (!set) return openssl_error("setting up TLS");
    for (std::size_t i = 1; i < settings.chain.size(); ++i) {
        if (SSL_CTX_add1_chain_cert(ctx, settings.chain[i].native()) != 1) {
            return openssl_error("setting up TLS");
        }
    }
    return std::shared_ptr<const Context>(new Context(context.release(), settings.chain.front()));
}

Context::~Context() { SSL_CTX_free(context_); }

}  // namespace ostal::tls
