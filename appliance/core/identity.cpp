#include "appliance/core/identity.h"

#include "appliance/tls/local_ca.h"
#include "security/crypto/aead.h"

namespace ostal {
namespace {

constexpr std::uint64_t kMaxPemBytes = 1 << 20;
constexpr std::string_view kCaKeyPurpose = "ostal/tls/ca-key/1";

// Calls `use` with the key's PEM, then keeps nothing of it.
Result<security::SecretBytes> pem_of(const tls::PrivateKey& key) {
    security::SecretBytes out;
    OSTAL_TRYV(key.with_pem([&](ByteSpan pem) -> Status {
        out = security::SecretBytes::copy_of(pem);
        return {};
    }));
    return out;
}

}  // namespace

Result<std::unique_ptr<ServerIdentity>> ServerIdentity::open(Files& files, const Clock& clock, RandomSource& random,
                                                             const std::string& folder, const std::vector<std::string>& hosts) {
    auto identity = std::unique_ptr<ServerIdentity>(new ServerIdentity(files, clock, random, folder));
    const std::string leaf = join_path(folder, "leaf.pem");
    if (!files.info(leaf)) {
        OSTAL_TRY(const auto key, tls::PrivateKey::generate(tls::Curve::kP256));
        OSTAL_TRY(const auto certificate, tls::self_signed(key, {hosts, tls::kLeafDays}, clock, random));
        OSTAL_TRYV(identity->store(certificate.to_pem(), key));
        return identity;
    }
    OSTAL_TRY(const Bytes certificate, read_file(files, leaf, kMaxPemBytes));
    OSTAL_TRY(Bytes key, read_file(files, join_path(folder, "leaf.key"), kMaxPemBytes));
    OSTAL_TRY(const auto parsed, tls::Certificate::chain_from_pem(as_text(certificate)));
    identity->certificate_pem_ = std::string(as_text(certificate));
    identity->private_key_pem_ = security::SecretBytes::copy_of(key);
    security::wipe(key);
    identity->fingerprint_ = parsed.front().fingerprint();
    return identity;
}

// The key first: a leaf without its key must not be found at the next start.
Status ServerIdentity::store(const std::string& certificate_pem, const tls::PrivateKey& key) {
    OSTAL_TRY(auto key_pem, pem_of(key));
    OSTAL_TRYV(replace_file(files_, join_path(folder_, "leaf.key"), key_pem.bytes()));
    OSTAL_TRYV(replace_file(files_, join_path(folder_, "leaf.pem"), as_bytes(certificate_pem)));
    OSTAL_TRY(const auto leaf, tls::Certificate::from_pem(certificate_pem));
    const std::lock_guard lock(mutex_);
    certificate_pem_ = certificate_pem;
    private_key_pem_ = std::move(key_pem);
    fingerprint_ = leaf.fingerprint();
    return {};
}

std::string ServerIdentity::certificate_pem() const {
    const std::lock_guard lock(mutex_);
    return certificate_pem_;
}
security::SecretBytes ServerIdentity::private_key_pem() const {
    const std::lock_guard lock(mutex_);
    return private_key_pem_.clone();
}
std::string ServerIdentity::fingerprint() const {
    const std::lock_guard lock(mutex_);
    return fingerprint_;
}

Status ServerIdentity::issue(security::KeyView ca_key, const std::vector<std::string>& hosts) {
    OSTAL_TRY(const auto ca, tls::LocalCa::create({}, clock_, random_));
    OSTAL_TRY(const auto ca_key_pem, pem_of(ca.key()));
    // nonce | ciphertext | tag
    Bytes sealed(security::kXChaChaNonceBytes + ca_key_pem.size() + security::kAeadTagBytes);
    const auto nonce = std::span(sealed).first<security::kXChaChaNonceBytes>();
    random_.fill(nonce);
    security::xchacha20_seal(ca_key, nonce, as_bytes(kCaKeyPurpose), ca_key_pem.bytes(),
                             std::span(sealed).subspan(security::kXChaChaNonceBytes));
    OSTAL_TRYV(replace_file(files_, join_path(folder_, "ca.key.sealed"), sealed));
    OSTAL_TRYV(replace_file(files_, ca_path(), as_bytes(ca.certificate().to_pem())));
    OSTAL_TRY(const auto key, tls::PrivateKey::generate(tls::Curve::kP256));
    OSTAL_TRY(const auto leaf, ca.issue(key, {hosts, tls::kLeafDays}, clock_, random_));
    return store(leaf.to_pem(), key);
}

}  // namespace ostal
