#include "appliance/tls/local_ca.h"

#include <arpa/inet.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>

#include "appliance/tls/openssl_impl.h"

namespace ostal::tls {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kDaySeconds = 86400;
constexpr std::int64_t kClockSlackSeconds = 3600;
constexpr std::size_t kMaxCommonName = 64;  // RFC 5280, ub-common-name
constexpr std::size_t kMaxNames = 64;

bool is_dns_name(std::string_view text) {
    if (text.empty() || text.size() > 253) return false;
    std::size_t label = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '.') {
            if (label == 0 || text[i - 1] == '-') return false;
            label = 0;
            continue;
        }
        const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c != '-' || label == 0)) return false;
        if (++label > 63) return false;
    }
    return label > 0 && text.back() != '-';
}

// 4 or 16 bytes, or none when `text` is no IP address.
Bytes address_bytes(const std::string& text) {
    Bytes bytes(16);
    if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
    bytes.resize(4);
    if (inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return bytes;
    return {};
}

// Gives `name` (a DNS name or an address) its value.
bool set_name(GENERAL_NAME* name, int kind, ByteSpan bytes) {
    ASN1_STRING* value = ASN1_STRING_type_new(kind == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);
    if (value == nullptr || ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size())) != 1) {
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, kind, value);
    return true;
}

Status append_name(GENERAL_NAMES* names, int kind, ByteSpan bytes) {
    std::unique_ptr<GENERAL_NAME, Free<GENERAL_NAME_free>> name(GENERAL_NAME_new());
    if (!name || !set_name(name.get(), kind, bytes) || sk_GENERAL_NAME_push(names, name.get()) <= 0) {
        return openssl_error("making a subject alternative name");
    }
    name.release();  // the list owns it
    return {};
}

Result<OwnedNames> alternative_names(const LeafRequest& request) {
    if (request.names.empty() || request.names.size() > kMaxNames) {
        return fail(Code::kInvalidArgument, "a certificate needs 1 to 64 names");
    }
    OwnedNames names(GENERAL_NAMES_new());
    if (!names) return openssl_error("making subject alternative names");
    for (const std::string& name : request.names) {
        const Bytes address = address_bytes(name);
        if (!address.empty()) {
            OSTAL_TRYV(append_name(names.get(), GEN_IPADD, address));
        } else if (is_dns_name(name)) {
            OSTAL_TRYV(append_name(names.get(), GEN_DNS, as_bytes(name)));
        } else {
            return fail(Code::kInvalidArgument, "\"" + name + "\" is neither a DNS name nor an IP address");
        }
    }
    return names;
}

Status set_common_name(X509_NAME* name, const std::string& text) {
    const std::string cut = text.substr(0, kMaxCommonName);
    const auto* bytes = reinterpret_cast<const unsigned char*>(cut.data());
    if (X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, bytes, static_cast<int>(cut.size()), -1, 0) != 1) {
        return openssl_error("naming a certificate");
    }
    return {};
}

Status set_serial(X509* certificate, RandomSource& random) {
    std::array<std::uint8_t, 16> bytes{};
    random.fill(bytes);
    bytes[0] = static_cast<std::uint8_t>((bytes[0] & 0x7fU) | 0x40U);  // positive, always 16 octets
    const std::unique_ptr<BIGNUM, Free<BN_free>> number(
        BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
    if (!number || BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
        return openssl_error("numbering a certificate");
    }
    return {};
}

// `value` is OpenSSL's configuration syntax and always a constant of this file.
Status add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const OwnedExtension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
    if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
        return openssl_error("adding an extension to a certificate");
    }
    return {};
}

Status add_name_constraints(X509* certificate, const std::vector<std::string>& permitted_dns) {
    if (permitted_dns.empty()) return {};
    const std::unique_ptr<NAME_CONSTRAINTS, Free<NAME_CONSTRAINTS_free>> constraints(NAME_CONSTRAINTS_new());
    if (!constraints) return openssl_error("making name constraints");
    constraints->permittedSubtrees = sk_GENERAL_SUBTREE_new_null();
    for (const std::string& zone : permitted_dns) {
        if (!is_dns_name(zone)) return fail(Code::kInvalidArgument, "\"" + zone + "\" is no DNS name");
        std::unique_ptr<GENERAL_SUBTREE, Free<GENERAL_SUBTREE_free>> subtree(GENERAL_SUBTREE_new());
        if (!subtree || !set_name(subtree->base, GEN_DNS, as_bytes(zone)) ||
            sk_GENERAL_SUBTREE_push(constraints->permittedSubtrees, subtree.get()) <= 0) {
            return openssl_error("making name constraints");
        }
        subtree.release();  // the list owns it
    }
    if (X509_add1_ext_i2d(certificate, NID_name_constraints, constraints.get(), 1, X509V3_ADD_DEFAULT) != 1) {
        return openssl_error("adding name constraints");
    }
    return {};
}

struct Validity {
    std::int64_t from_s = 0;
    std::int64_t to_s = 0;
};

Validity validity(const Clock& clock, int days) {
    const std::int64_t from = clock.wall_now_us() / kSecond - kClockSlackSeconds;
    return {from, from + days * kDaySeconds};
}

Result<OwnedX509> begin_certificate(EVP_PKEY* public_key, const Validity& valid, RandomSource& random) {
    OwnedX509 certificate(X509_new());
    if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
        ASN1_TIME_set(X509_getm_notBefore(certificate.get()), valid.from_s) == nullptr ||
        ASN1_TIME_set(X509_getm_notAfter(certificate.get()), valid.to_s) == nullptr ||
        X509_set_pubkey(certificate.get(), public_key) != 1) {
        return openssl_error("making a certificate");
    }
    OSTAL_TRYV(set_serial(certificate.get(), random));
    return certificate;
}

const EVP_MD* digest_for(EVP_PKEY* key) {
    if (EVP_PKEY_is_a(key, "ED25519") == 1) return nullptr;  // it brings its own
    return EVP_PKEY_get_bits(key) == 384 ? EVP_sha384() : EVP_sha256();
}

Status sign(X509* certificate, EVP_PKEY* key) {
    if (X509_sign(certificate, key, digest_for(key)) <= 0) return openssl_error("signing a certificate");
    return {};
}

// `issuer` is null for a leaf that signs itself.
Result<Certificate> make_leaf(const PrivateKey& key, const LeafRequest& request, const Validity& valid,
                              X509* issuer, EVP_PKEY* issuer_key, RandomSource& random) {
    OSTAL_TRY(const OwnedNames names, alternative_names(request));
    OSTAL_TRY(const OwnedX509 leaf, begin_certificate(key.native(), valid, random));
    OSTAL_TRYV(set_common_name(X509_get_subject_name(leaf.get()), request.names.front()));
    X509* const signer = issuer == nullptr ? leaf.get() : issuer;
    if (X509_set_issuer_name(leaf.get(), X509_get_subject_name(signer)) != 1) {
        return openssl_error("naming an issuer");
    }
    OSTAL_TRYV(add_extension(leaf.get(), signer, NID_basic_constraints, "critical,CA:FALSE"));
    OSTAL_TRYV(add_extension(leaf.get(), signer, NID_key_usage, "critical,digitalSignature"));
    OSTAL_TRYV(add_extension(leaf.get(), signer, NID_ext_key_usage, "serverAuth"));
    OSTAL_TRYV(add_extension(leaf.get(), signer, NID_subject_key_identifier, "hash"));
    OSTAL_TRYV(add_extension(leaf.get(), signer, NID_authority_key_identifier, "keyid"));
    if (X509_add1_ext_i2d(leaf.get(), NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) != 1) {
        return openssl_error("adding subject alternative names");
    }
    OSTAL_TRYV(sign(leaf.get(), issuer_key));
    X509_up_ref(leaf.get());
    return Certificate::adopt(leaf.get());
}

}  // namespace

Result<LocalCa> LocalCa::create(const Options& options, const Clock& clock, RandomSource& random) {
    OSTAL_TRY(PrivateKey key, PrivateKey::generate(options.curve));
    OSTAL_TRY(OwnedX509 ca, begin_certificate(key.native(), validity(clock, options.days), random));
    OSTAL_TRYV(set_common_name(X509_get_subject_name(ca.get()), options.name));
    if (X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get())) != 1) {
        return openssl_error("naming an issuer");
    }
    OSTAL_TRYV(add_extension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
    OSTAL_TRYV(add_extension(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign,cRLSign"));
    OSTAL_TRYV(add_extension(ca.get(), ca.get(), NID_subject_key_identifier, "hash"));
    OSTAL_TRYV(add_name_constraints(ca.get(), options.permitted_dns));
    OSTAL_TRYV(sign(ca.get(), key.native()));
    return LocalCa(Certificate::adopt(ca.release()), std::move(key));
}

Result<LocalCa> LocalCa::load(Certificate certificate, PrivateKey key) {
    if (!certificate.matches(key)) {
        return fail(Code::kInvalidArgument, "the CA's key is not its certificate's");
    }
    if (!certificate.is_issued_by(certificate)) {
        return fail(Code::kInvalidArgument, "the CA's certificate is not one of a self-signed CA");
    }
    return LocalCa(std::move(certificate), std::move(key));
}

Result<Certificate> LocalCa::issue(const PrivateKey& key, const LeafRequest& request, const Clock& clock,
                                   RandomSource& random) const {
    if (clock.wall_now_us() >= certificate_.not_after_us()) {
        return fail(Code::kUnavailable, "the local CA has expired: make a new one (ostalctl cert)");
    }
    Validity valid = validity(clock, request.days);
    valid.to_s = std::min(valid.to_s, certificate_.not_after_us() / kSecond);
    return make_leaf(key, request, valid, certificate_.native(), key_.native(), random);
}

Result<Certificate> self_signed(const PrivateKey& key, const LeafRequest& request, const Clock& clock,
                                RandomSource& random) {
    return make_leaf(key, request, validity(clock, request.days), nullptr, key.native(), random);
}

Result<std::string> certificate_request(const PrivateKey& key, const LeafRequest& request) {
    OSTAL_TRY(const OwnedNames names, alternative_names(request));
    const OwnedRequest csr(X509_REQ_new());
    if (!csr || X509_REQ_set_version(csr.get(), X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(csr.get(), key.native()) != 1) {
        return openssl_error("making a certificate request");
    }
    OSTAL_TRYV(set_common_name(X509_REQ_get_subject_name(csr.get()), request.names.front()));
    STACK_OF(X509_EXTENSION)* extensions = nullptr;
    const bool added =
        X509V3_add1_i2d(&extensions, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1 &&
        X509_REQ_add_extensions(csr.get(), extensions) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    const OwnedBio bio(BIO_new(BIO_s_mem()));
    if (!added || !bio || X509_REQ_sign(csr.get(), key.native(), digest_for(key.native())) <= 0 ||
        PEM_write_bio_X509_REQ(bio.get(), csr.get()) != 1) {
        return openssl_error("making a certificate request");
    }
    return std::string(as_text(bio_content(bio.get())));
}

}  // namespace ostal::tls
