#include "appliance/tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/pem.h>

#include <array>
#include <ctime>

#include "appliance/tls/openssl_impl.h"
#include "base/check.h"

namespace ostal::tls {
namespace {

constexpr std::size_t kMaxPemBytes = 65536;
constexpr std::size_t kMaxChain = 8;

// Without a callback OpenSSL asks for a passphrase on the terminal: an encrypted key is an error instead.
int no_passphrase(char*, int, int, void*) { return -1; }

Status check_kind(EVP_PKEY* key) {
    if (EVP_PKEY_is_a(key, "ED25519") == 1) return {};
    if (EVP_PKEY_is_a(key, "RSA") == 1) {
        if (EVP_PKEY_get_bits(key) >= 2048) return {};
        return fail(Code::kUnsupported, "the RSA key is shorter than 2048 bits");
    }
    if (EVP_PKEY_is_a(key, "EC") == 1) {
        std::array<char, 64> group{};
        std::size_t size = 0;
        EVP_PKEY_get_group_name(key, group.data(), group.size(), &size);
        const std::string_view name(group.data());
        if (name == "prime256v1" || name == "secp384r1") return {};
        return fail(Code::kUnsupported, "the EC key's curve is neither P-256 nor P-384");
    }
    return fail(Code::kUnsupported, "the key is neither EC, Ed25519 nor RSA");
}

std::string name_text(const X509_NAME* name) {
    const OwnedBio bio(BIO_new(BIO_s_mem()));
    CHECK(bio != nullptr);
    X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
    return std::string(as_text(bio_content(bio.get())));
}

std::int64_t time_us(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
    return static_cast<std::int64_t>(timegm(&parts)) * 1'000'000;
}

}  // namespace

PrivateKey::PrivateKey(evp_pkey_st* owned) : key_(owned, EVP_PKEY_free) {}

Result<PrivateKey> PrivateKey::generate(Curve curve) {
    EVP_PKEY* key = EVP_EC_gen(curve == Curve::kP256 ? "P-256" : "P-384");
    if (key == nullptr) return openssl_error("making a key");
    return PrivateKey(key);
}

Result<PrivateKey> PrivateKey::from_pem(ByteSpan pem) {
    if (pem.size() > kMaxPemBytes) return fail(Code::kInvalidArgument, "the PEM of a key is too large");
    const OwnedBio bio = reading_bio(pem);
    if (!bio) return openssl_error("reading a key");
    OwnedKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    ERR_clear_error();
    if (!key) return fail(Code::kInvalidArgument, "no unencrypted private key in PEM form");
    OSTAL_TRYV(check_kind(key.get()));
    return PrivateKey(key.release());
}

Status PrivateKey::with_pem(const std::function<Status(ByteSpan)>& use) const {
    const OwnedBio bio(BIO_new(BIO_s_secmem()));  // zeroes its buffer when it grows and when it is freed
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return openssl_error("writing a key");
    }
    return use(bio_content(bio.get()));
}

Certificate::Certificate(x509_st* owned) : certificate_(owned, X509_free) {}

Certificate Certificate::adopt(x509_st* owned) {
    CHECK(owned != nullptr);
    return Certificate(owned);
}

Result<std::vector<Certificate>> Certificate::chain_from_pem(std::string_view pem) {
    if (pem.size() > kMaxPemBytes) {
        return fail(Code::kInvalidArgument, "the PEM of a certificate chain is too large");
    }
    const OwnedBio bio = reading_bio(as_bytes(pem));
    if (!bio) return openssl_error("reading certificates");
    ERR_clear_error();
    std::vector<Certificate> chain;
    while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) {
        chain.push_back(Certificate(certificate));
        if (chain.size() > kMaxChain) {
            return fail(Code::kInvalidArgument, "more than 8 certificates in one chain");
        }
    }
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (chain.empty() || !at_end) {
        return fail(Code::kInvalidArgument, "no certificate in PEM form, or a broken one");
    }
    return chain;
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
    OSTAL_TRY(std::vector<Certificate> chain, chain_from_pem(pem));
    if (chain.size() != 1) {
        return fail(Code::kInvalidArgument, "more than one certificate where one is expected");
    }
    return chain.front();
}

std::string Certificate::to_pem() const {
    const OwnedBio bio(BIO_new(BIO_s_mem()));
    CHECK(bio != nullptr);
    CHECK_EQ(PEM_write_bio_X509(bio.get(), certificate_.get()), 1);
    return std::string(as_text(bio_content(bio.get())));
}

std::string Certificate::fingerprint() const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    CHECK_EQ(X509_digest(certificate_.get(), EVP_sha256(), digest.data(), &size), 1);
    const std::string hex = to_hex(ByteSpan(digest.data(), size));
    std::string out;
    for (std::size_t i = 0; i < hex.size(); ++i) {
        if (i > 0 && i % 2 == 0) out += ':';
        out += hex[i] >= 'a' ? static_cast<char>(hex[i] - 'a' + 'A') : hex[i];
    }
    return out;
}

std::string Certificate::subject() const { return name_text(X509_get_subject_name(certificate_.get())); }
std::string Certificate::issuer() const { return name_text(X509_get_issuer_name(certificate_.get())); }
std::int64_t Certificate::not_before_us() const { return time_us(X509_get0_notBefore(certificate_.get())); }
std::int64_t Certificate::not_after_us() const { return time_us(X509_get0_notAfter(certificate_.get())); }

std::vector<std::string> Certificate::names() const {
    const OwnedNames names(static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate_.get(), NID_subject_alt_name, nullptr, nullptr)));
    std::vector<std::string> out;
    for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        int kind = 0;
        const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &kind);
        if (kind != GEN_DNS && kind != GEN_IPADD) continue;
        const auto* text = static_cast<const ASN1_STRING*>(value);
        const unsigned char* bytes = ASN1_STRING_get0_data(text);
        const int size = ASN1_STRING_length(text);
        if (kind == GEN_DNS) {
            out.emplace_back(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
        } else if (size == 4 || size == 16) {
            std::array<char, INET6_ADDRSTRLEN> buffer{};
            inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, buffer.data(), buffer.size());
            out.emplace_back(buffer.data());
        }
    }
    return out;
}

bool Certificate::matches(const PrivateKey& key) const {
    const bool same = X509_check_private_key(certificate_.get(), key.native()) == 1;
    ERR_clear_error();
    return same;
}

bool Certificate::is_issued_by(const Certificate& issuer) const {
    const bool issued = X509_check_issued(issuer.native(), certificate_.get()) == X509_V_OK &&
                        X509_check_ca(issuer.native()) == 1 &&
                        X509_verify(certificate_.get(), X509_get0_pubkey(issuer.native())) == 1;
    ERR_clear_error();
    return issued;
}

}  // namespace ostal::tls
