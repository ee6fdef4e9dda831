// The two keys of the audit log, which exist only while the appliance is unsealed.
//
// The signing key (Ed25519) signs checkpoints. The MAC key k is a one-way chain: after each checkpoint k' =
// HMAC-SHA-256(k, "next") replaces it and k is wiped, so that who takes the machine today cannot forge the
// MACs of yesterday. The chain starts at K_audit0, which only the auditor keeps (audit_key_setup.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace ostal::security {

template <std::size_t N>
class Secret;

// Used by the audit thread alone, one call at a time.
class AuditKeys {
public:
    virtual ~AuditKeys() = default;
    // "<instance>.ostal/audit": first line of each checkpoint and name of the key.
    virtual std::string origin() const = 0;
    virtual std::array<std::uint8_t, 32> public_key() const = 0;
    virtual Result<std::array<std::uint8_t, 64>> sign(ByteSpan message) = 0;
    // The current k, and how many were before it.
    virtual Status load_mac_key(Secret<32>& key, std::uint64_t& counter) = 0;
    // Durably replaces k by `next`, number `counter`. After a crash the old or the new one is there.
    virtual Status store_mac_key(const Secret<32>& next, std::uint64_t counter) = 0;
};

}  // namespace ostal::security
