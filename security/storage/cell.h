// Encrypted database cells.
//
// A cell = u8 suite | dek_id16 | nonce24 | ciphertext | tag16
// (XChaCha20-Poly1305), with the AAD "ostal/cell/1" 00 table 00 column 00
// row_id16: a cell moved to another row, column or table is refused.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"
#include "security/secret.h"
#include "security/storage/ids.h"

namespace ostal::security {

// A data key, from Keyring (keyring.h).
struct Dek {
    Id id{};
    Secret<32> key;
};

// Table and column names hold no NUL (CHECKed).
struct CellAddress {
    std::string_view table;
    std::string_view column;
    Id row;
};

inline constexpr std::size_t kCellOverheadBytes = 1 + 16 + 24 + 16;

Bytes seal_cell(const Dek& dek, const CellAddress& address, ByteSpan plaintext, RandomSource& random);
// Which data key a cell needs. kIntegrity when it is too short or of an unknown
// suite.
Result<Id> cell_dek_id(ByteSpan cell);
// kIntegrity for a cell of another key or place, or altered.
Result<Bytes> open_cell(const Dek& dek, const CellAddress& address, ByteSpan cell);
// The same for content that is itself a secret.
Result<SecretBytes> open_secret_cell(const Dek& dek, const CellAddress& address, ByteSpan cell);

}  // namespace ostal::security
