#include "security/storage/wrap.h"

#include "security/crypto/aead.h"

namespace ostal::security {
namespace {

constexpr std::uint8_t kSuiteXChaCha20Poly1305 = 1;
constexpr std::size_t kHeadBytes = 1 + 1 + 4 + 16;

Bytes head_of(const WrapLabel& label) {
    Bytes head(kHeadBytes);
    head[0] = kSuiteXChaCha20Poly1305;
    head[1] = static_cast<std::uint8_t>(label.type);
    store_le<std::uint32_t>(head.data() + 2, label.kek_epoch);
    std::copy(label.id.begin(), label.id.end(), head.begin() + 6);
    return head;
}

Status damaged() { return fail(Code::kIntegrity, "a wrapped key was altered or is not where it belongs"); }

}  // namespace

Bytes seal_wrap(KeyView wrapping_key, const WrapLabel& label, KeyView key, RandomSource& random) {
    Bytes wrap = head_of(label);
    Bytes aad = wrap;
    append(aad, as_bytes(label.owner));
    wrap.resize(kWrapBytes);
    const auto nonce = MutableByteSpan(wrap).subspan(kHeadBytes).first<kXChaChaNonceBytes>();
    random.fill(nonce);
    xchacha20_seal(wrapping_key, nonce, aad, key,
                   MutableByteSpan(wrap).subspan(kHeadBytes + kXChaChaNonceBytes));
    return wrap;
}

Result<Secret<32>> open_wrap(KeyView wrapping_key, const WrapLabel& label, ByteSpan wrap) {
    Bytes aad = head_of(label);
    if (wrap.size() != kWrapBytes || !constant_time_equal(wrap.first(kHeadBytes), aad)) {
        return fail(damaged().error());
    }
    append(aad, as_bytes(label.owner));
    Secret<32> key;
    if (!xchacha20_open(wrapping_key, wrap.subspan(kHeadBytes).first<kXChaChaNonceBytes>(), aad,
                        wrap.subspan(kHeadBytes + kXChaChaNonceBytes), key.mutable_bytes())) {
        return fail(damaged().error());
    }
    return key;
}

Result<std::uint32_t> wrap_kek_epoch(ByteSpan wrap) {
    if (wrap.size() != kWrapBytes) return fail(damaged().error());
    return load_le<std::uint32_t>(wrap.data() + 2);
}

}  // namespace ostal::security
