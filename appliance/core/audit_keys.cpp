#include "appliance/core/audit_keys.h"

#include "security/crypto/ed25519.h"

namespace ostal {
namespace {

class KeyringAuditKeys final : public security::AuditKeys {
public:
    KeyringAuditKeys(security::Keyring& keyring, std::string origin, security::Ed25519PrivateKey signing)
        : keyring_(keyring), origin_(std::move(origin)), signing_(std::move(signing)) {}

    std::string origin() const override { return origin_; }
    std::array<std::uint8_t, 32> public_key() const override { return signing_.public_key(); }
    Result<std::array<std::uint8_t, 64>> sign(ByteSpan message) override { return signing_.sign(message); }
    Status load_mac_key(security::Secret<32>& key, std::uint64_t& counter) override {
        OSTAL_TRY(auto current, keyring_.audit_mac_key());
        key = std::move(current.key);
        counter = current.counter;
        return {};
    }
    Status store_mac_key(const security::Secret<32>& next, std::uint64_t counter) override {
        return keyring_.replace_audit_mac_key({counter, next.clone()});
    }

private:
    security::Keyring& keyring_;
    const std::string origin_;
    const security::Ed25519PrivateKey signing_;
};

}  // namespace

Result<std::unique_ptr<security::AuditKeys>> keyring_audit_keys(security::Keyring& keyring, const std::string& instance) {
    OSTAL_TRY(const auto seed, keyring.service_key(security::ServiceKey::kAuditSign));
    return std::unique_ptr<security::AuditKeys>(std::make_unique<KeyringAuditKeys>(
        keyring, instance + ".ostal/audit", security::Ed25519PrivateKey::from_seed(seed.view())));
}

}  // namespace ostal
