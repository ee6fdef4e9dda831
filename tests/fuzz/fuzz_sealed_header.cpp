// The header of an encrypted weight container: accepted bytes are exactly those that the encoder writes, so no two
// headers mean the same file and nothing hides in the padding.
#include <algorithm>
#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/check.h"
#include "security/storage/sealed_file.h"

using namespace ostal;
using namespace ostal::security;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto as_given = parse_sealed_header({data, size});
    CHECK(!as_given || size == kSealedHeaderBytes);
    // Padded with zeros, so that short inputs reach the fields.
    std::array<std::uint8_t, kSealedHeaderBytes> whole{};
    std::copy_n(data, std::min(size, whole.size()), whole.begin());
    const auto header = parse_sealed_header(whole);
    if (!header) {
        CHECK(header.error().code() == Code::kIntegrity || header.error().code() == Code::kUnsupported);
        return 0;
    }
    CHECK(encode_sealed_header(*header) == whole);
    CHECK_LE(header->plaintext_bytes, kMaxSealedPlaintextBytes);
    const std::uint64_t sealed = sealed_file_bytes(header->plaintext_bytes);
    CHECK_GT(sealed, header->plaintext_bytes);
    return 0;
}
