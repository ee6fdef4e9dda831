#include "security/storage/floor_file.h"

#include "base/check.h"
#include "security/crypto/hash.h"

namespace ostal::security {
namespace {

// magic8 | u32 count | entries | mac32; entry = u8 length | name | u64 version | u8 has previous | u64
// previous (0 without); integers little-endian, names sorted. MAC = HMAC-SHA-256(key, all before it).
constexpr std::string_view kMagic = "OSTFLR1\n";
constexpr std::size_t kMacBytes = 32;
constexpr std::uint64_t kMaxFileBytes = 16 << 20;
constexpr std::size_t kMaxNameBytes = 255;

template <typename T>
void append_le(Bytes& out, T value) {
    std::array<std::uint8_t, sizeof(T)> bytes;
    store_le<T>(bytes.data(), value);
    append(out, bytes);
}

tl::unexpected<Error> damaged(const std::string& path) {
    return fail(Code::kIntegrity, path + " was altered outside of this program");
}

Result<Floors> decode(ByteSpan body) {
    ByteReader reader(body);
    OSTAL_TRYV(reader.take(kMagic.size()));
    OSTAL_TRY(const auto count, reader.le<std::uint32_t>());
    Floors floors;
    for (std::uint32_t i = 0; i < count; ++i) {
        OSTAL_TRY(const auto length, reader.le<std::uint8_t>());
        OSTAL_TRY(const ByteSpan name, reader.take(length));
        Floor floor;
        OSTAL_TRY(floor.version, reader.le<std::uint64_t>());
        OSTAL_TRY(const auto has_previous, reader.le<std::uint8_t>());
        OSTAL_TRY(const auto previous, reader.le<std::uint64_t>());
        if (has_previous != 0) floor.previous = previous;
        floors.emplace(std::string(as_text(name)), floor);
    }
    return floors;
}

}  // namespace

Result<Floors> read_floor_file(Files& files, const std::string& path, KeyView key) {
    OSTAL_TRY(const Bytes content, read_file(files, path, kMaxFileBytes));
    if (content.size() < kMagic.size() + kMacBytes) return damaged(path);
    const ByteSpan body = ByteSpan(content).first(content.size() - kMacBytes);
    if (as_text(body.first(kMagic.size())) != kMagic ||
        !constant_time_equal(hmac_sha256(key, body), ByteSpan(content).last(kMacBytes))) {
        return damaged(path);
    }
    auto floors = decode(body);
    if (!floors) return damaged(path);
    return floors;
}

Status write_floor_file(Files& files, const std::string& path, KeyView key, const Floors& floors) {
    Bytes content;
    append(content, as_bytes(kMagic));
    append_le(content, static_cast<std::uint32_t>(floors.size()));
    for (const auto& [name, floor] : floors) {
        CHECK_LE(name.size(), kMaxNameBytes);
        append_le(content, static_cast<std::uint8_t>(name.size()));
        append(content, as_bytes(name));
        append_le(content, floor.version);
        append_le(content, static_cast<std::uint8_t>(floor.previous.has_value() ? 1 : 0));
        append_le(content, floor.previous.value_or(0));
    }
    append(content, hmac_sha256(key, content));
    if (content.size() > kMaxFileBytes) return fail(Code::kTooLarge, "too many rollback floors for " + path);
    return replace_file(files, path, content);
}

}  // namespace ostal::security
