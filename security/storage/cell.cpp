#include "security/storage/cell.h"

#include "base/check.h"
#include "security/crypto/aead.h"

namespace ostal::security {
namespace {

constexpr std::uint8_t kSuiteXChaCha20Poly1305 = 1;
constexpr std::size_t kNonceAt = 1 + 16;
constexpr std::size_t kCiphertextAt = kNonceAt + kXChaChaNonceBytes;

Bytes aad_of(const CellAddress& address) {
    CHECK(address.table.find('\0') == std::string_view::npos &&
          address.column.find('\0') == std::string_view::npos);
    Bytes aad;
    for (const std::string_view part : {std::string_view("ostal/cell/1"), address.table, address.column}) {
        append(aad, as_bytes(part));
        aad.push_back(0);
    }
    append(aad, address.row);
    return aad;
}

Status damaged() {
    return fail(Code::kIntegrity, "an encrypted cell was altered or is not where it belongs");
}

Status open_into(const Dek& dek, const CellAddress& address, ByteSpan cell, MutableByteSpan out) {
    OSTAL_TRY(const Id id, cell_dek_id(cell));
    if (id != dek.id || !xchacha20_open(dek.key.view(), cell.subspan(kNonceAt).first<kXChaChaNonceBytes>(),
                                        aad_of(address), cell.subspan(kCiphertextAt), out)) {
        return damaged();
    }
    return {};
}

}  // namespace

Bytes seal_cell(const Dek& dek, const CellAddress& address, ByteSpan plaintext, RandomSource& random) {
    Bytes cell(plaintext.size() + kCellOverheadBytes);
    cell[0] = kSuiteXChaCha20Poly1305;
    std::copy(dek.id.begin(), dek.id.end(), cell.begin() + 1);
    const auto nonce = MutableByteSpan(cell).subspan(kNonceAt).first<kXChaChaNonceBytes>();
    random.fill(nonce);
    xchacha20_seal(dek.key.view(), nonce, aad_of(address), plaintext,
                   MutableByteSpan(cell).subspan(kCiphertextAt));
    return cell;
}

Result<Id> cell_dek_id(ByteSpan cell) {
    if (cell.size() < kCellOverheadBytes || cell[0] != kSuiteXChaCha20Poly1305)
        return fail(damaged().error());
    Id id;
    std::copy_n(cell.data() + 1, id.size(), id.data());
    return id;
}

Result<Bytes> open_cell(const Dek& dek, const CellAddress& address, ByteSpan cell) {
    Bytes plaintext(cell.size() < kCellOverheadBytes ? 0 : cell.size() - kCellOverheadBytes);
    OSTAL_TRYV(open_into(dek, address, cell, plaintext));
    return plaintext;
}

Result<SecretBytes> open_secret_cell(const Dek& dek, const CellAddress& address, ByteSpan cell) {
    SecretBytes plaintext(cell.size() < kCellOverheadBytes ? 0 : cell.size() - kCellOverheadBytes);
    OSTAL_TRYV(open_into(dek, address, cell, plaintext.mutable_bytes()));
    return plaintext;
}

}  // namespace ostal::security
