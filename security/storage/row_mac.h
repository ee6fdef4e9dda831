// Authenticated database rows: who can write the file must not be able to grant
// himself a role.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "security/crypto/hash.h"
#include "security/secret.h"
#include "security/storage/database.h"

namespace ostal::security {

// HMAC-SHA-256 under the service key "meta". Const methods from any number of
// threads.
class RowMac {
public:
    explicit RowMac(Secret<32> meta_key) : key_(std::move(meta_key)) {}

    // Over the table's name and the values of all columns but the MAC's own, in a
    // fixed order, each with its type and length.
    Digest32 of_row(std::string_view table, std::span<const Parameter> columns) const;
    // kIntegrity when `mac` is not the one of the row.
    Status check_row(std::string_view table, std::span<const Parameter> columns, ByteSpan mac) const;
    // One MAC over the MACs of all rows in the order of their primary key, kept
    // beside the table: rows that vanish or come back are seen.
    Digest32 of_table(std::string_view table, std::span<const Digest32> row_macs) const;
    Status check_table(std::string_view table, std::span<const Digest32> row_macs, ByteSpan mac) const;

private:
    Secret<32> key_;
};

}  // namespace ostal::security
