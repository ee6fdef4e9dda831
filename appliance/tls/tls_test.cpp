#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "appliance/tls/context.h"
#include "appliance/tls/local_ca.h"

namespace ostal::tls {
namespace {

constexpr std::int64_t kDay = 86400LL * 1'000'000;

class Tls : public ::testing::Test {
protected:
    ManualClock clock_{1'800'000'000'000'000};
    SeededRandom random_{7};

    PrivateKey key(Curve curve = Curve::kP256) { return PrivateKey::generate(curve).value(); }
    LocalCa ca(LocalCa::Options options = {}) { return LocalCa::create(options, clock_, random_).value(); }
    Certificate issue(const LocalCa& by, const PrivateKey& leaf_key, LeafRequest request = {}) {
        return by.issue(leaf_key, request, clock_, random_).value();
    }
};

// A client's judgement: OpenSSL's own path validation for `name` at the clock's time.
int verify(const Certificate& leaf, const Certificate& root, const std::string& name, const Clock& clock) {
    X509_STORE* store = X509_STORE_new();
    X509_STORE_add_cert(store, root.native());
    X509_STORE_CTX* context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, leaf.native(), nullptr);
    X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(param, clock.wall_now_us() / 1'000'000);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) != 1) {
        X509_VERIFY_PARAM_set1_host(param, name.c_str(), name.size());
    }
    const int verdict = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return verdict;
}

TEST_F(Tls, ALeafOfTheLocalCaConvincesAClient) {
    for (const Curve curve : {Curve::kP256, Curve::kP384}) {
        LocalCa::Options options;
        options.curve = curve;
        const LocalCa authority = ca(options);
        const Certificate leaf = issue(authority, key(), {.names = {"ostal.example", "10.1.2.3", "2001:db8::1"}});
        for (const char* name : {"ostal.example", "10.1.2.3", "2001:db8::1"}) {
            EXPECT_EQ(verify(leaf, authority.certificate(), name, clock_), X509_V_OK) << name;
        }
        EXPECT_EQ(verify(leaf, authority.certificate(), "evil.example", clock_), X509_V_ERR_HOSTNAME_MISMATCH);
        EXPECT_EQ(verify(leaf, authority.certificate(), "10.1.2.4", clock_), X509_V_ERR_IP_ADDRESS_MISMATCH);
        EXPECT_NE(verify(leaf, ca().certificate(), "ostal.example", clock_), X509_V_OK);
        EXPECT_EQ(leaf.names(), (std::vector<std::string>{"ostal.example", "10.1.2.3", "2001:db8::1"}));
        EXPECT_EQ(leaf.subject(), "CN=ostal.example");
        EXPECT_EQ(leaf.issuer(), "CN=Ostal local CA");
    }
}

TEST_F(Tls, ValidityIs397DaysAndTenYears) {
    const LocalCa authority = ca();
    const Certificate leaf = issue(authority, key());
    EXPECT_EQ(leaf.not_after_us() - leaf.not_before_us(), 397 * kDay);
    EXPECT_EQ(authority.certificate().not_after_us() - authority.certificate().not_before_us(), 3650 * kDay);
    EXPECT_LT(leaf.not_before_us(), clock_.wall_now_us());
    clock_.advance_us(397 * kDay);
    EXPECT_EQ(verify(leaf, authority.certificate(), "localhost", clock_), X509_V_ERR_CERT_HAS_EXPIRED);
    clock_.advance_us(3000 * kDay);
    const Certificate last = issue(authority, key());
    EXPECT_EQ(last.not_after_us(), authority.certificate().not_after_us());
    clock_.advance_us(400 * kDay);
    const auto late = authority.issue(key(), {}, clock_, random_);
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().code(), Code::kUnavailable);
}

TEST_F(Tls, NameConstraintsHoldTheCaToItsZone) {
    LocalCa::Options options;
    options.permitted_dns = {"corp.example"};
    const LocalCa authority = ca(options);
    const Certificate inside = issue(authority, key(), {.names = {"ostal.corp.example", "10.0.0.1"}});
    EXPECT_EQ(verify(inside, authority.certificate(), "ostal.corp.example", clock_), X509_V_OK);
    const Certificate outside = issue(authority, key(), {.names = {"bank.example"}});
    EXPECT_EQ(verify(outside, authority.certificate(), "bank.example", clock_), X509_V_ERR_PERMITTED_VIOLATION);
    options.permitted_dns = {"no zone"};
    EXPECT_FALSE(LocalCa::create(options, clock_, random_).has_value());
}

TEST_F(Tls, ALeafIsNoCa) {
    const PrivateKey leaf_key = key();
    const LocalCa authority = ca();
    EXPECT_FALSE(LocalCa::load(issue(authority, leaf_key), leaf_key).has_value());
    EXPECT_FALSE(LocalCa::load(self_signed(leaf_key, {}, clock_, random_).value(), leaf_key).has_value());
    EXPECT_FALSE(LocalCa::load(authority.certificate(), key()).has_value());
    EXPECT_TRUE(LocalCa::load(authority.certificate(), authority.key()).has_value());
}

TEST_F(Tls, RefusesNamesThatAreNone) {
    const LocalCa authority = ca();
    for (const char* name : {"", "a b", "-a", "a-", "a..b", ".a", "a.", "*.example", "a_b", "DNS:x,IP:1.2.3.4",
                             "1.2.3.4/8", "caf\xc3\xa9"}) {
        EXPECT_FALSE(authority.issue(key(), {.names = {name}}, clock_, random_).has_value()) << name;
    }
    EXPECT_FALSE(authority.issue(key(), {.names = {}}, clock_, random_).has_value());
    std::string long_label(63, 'a');
    LeafRequest request;
    request.names = {long_label};
    EXPECT_TRUE(authority.issue(key(), request, clock_, random_).has_value());
    long_label.push_back('a');
    request.names = {long_label};
    EXPECT_FALSE(authority.issue(key(), request, clock_, random_).has_value());
}

TEST_F(Tls, PemRoundTripsAndJunkIsRefused) {
    const PrivateKey original = key();
    const Certificate leaf = self_signed(original, {}, clock_, random_).value();
    Bytes pem;
    ASSERT_TRUE(original.with_pem([&](ByteSpan bytes) {
        pem.assign(bytes.begin(), bytes.end());
        return Status();
    }));
    EXPECT_TRUE(as_text(pem).starts_with("-----BEGIN PRIVATE KEY-----"));
    EXPECT_TRUE(leaf.matches(PrivateKey::from_pem(pem).value()));
    EXPECT_FALSE(leaf.matches(key()));
    EXPECT_EQ(Certificate::from_pem(leaf.to_pem())->fingerprint(), leaf.fingerprint());
    EXPECT_EQ(leaf.fingerprint().size(), 95U);
    EXPECT_EQ(Certificate::chain_from_pem(leaf.to_pem() + leaf.to_pem())->size(), 2U);
    EXPECT_FALSE(Certificate::from_pem(leaf.to_pem() + leaf.to_pem()).has_value());
    EXPECT_FALSE(Certificate::from_pem("").has_value());
    EXPECT_FALSE(Certificate::from_pem(as_text(pem)).has_value());
    EXPECT_FALSE(PrivateKey::from_pem(as_bytes(leaf.to_pem())).has_value());
    std::string torn = leaf.to_pem();
    torn.resize(torn.size() / 2);
    EXPECT_FALSE(Certificate::from_pem(torn).has_value());
    EXPECT_FALSE(Certificate::chain_from_pem(leaf.to_pem() + torn).has_value());
    pem.resize(pem.size() / 2);
    EXPECT_FALSE(PrivateKey::from_pem(pem).has_value());
}

TEST_F(Tls, SerialsDiffer) {
    const LocalCa authority = ca();
    const PrivateKey leaf_key = key();
    EXPECT_NE(issue(authority, leaf_key).fingerprint(), issue(authority, leaf_key).fingerprint());
}

TEST_F(Tls, RequestForTheCustomersPki) {
    const auto csr = certificate_request(key(), {.names = {"ostal.example", "10.0.0.1"}});
    ASSERT_TRUE(csr.has_value());
    EXPECT_TRUE(csr->starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    EXPECT_FALSE(certificate_request(key(), {.names = {"a b"}}).has_value());
}

TEST_F(Tls, AContextIsCheckedBeforeItIsMade) {
    const LocalCa authority = ca();
    const PrivateKey leaf_key = key();
    const Certificate leaf = issue(authority, leaf_key);
    const auto made = [&](std::vector<Certificate> chain, const PrivateKey& with) {
        return Context::make({.chain = std::move(chain)}, with, clock_).has_value();
    };
    EXPECT_TRUE(made({leaf}, leaf_key));
    EXPECT_TRUE(made({leaf, authority.certificate()}, leaf_key));
    EXPECT_TRUE(made({self_signed(leaf_key, {}, clock_, random_).value()}, leaf_key));
    EXPECT_FALSE(made({}, leaf_key));
    EXPECT_FALSE(made({leaf}, key()));
    EXPECT_FALSE(made({leaf, ca().certificate()}, leaf_key));
    EXPECT_FALSE(made({authority.certificate()}, authority.key()));
    clock_.advance_us(398 * kDay);
    EXPECT_FALSE(made({leaf}, leaf_key));
    clock_.advance_us(-500 * kDay);
    EXPECT_FALSE(made({leaf}, leaf_key));
}

}  // namespace
}  // namespace ostal::tls
