// HKDF with SHA-512 (RFC 5869), by OpenSSL EVP_KDF.
#pragma once

#include "base/bytes.h"
#include "base/result.h"

namespace ostal::security {

// Extract and expand into `out`. kInvalidArgument above 255 * 64 bytes of
// output.
Status hkdf_sha512(ByteSpan input_key, ByteSpan salt, ByteSpan info, MutableByteSpan out);
// Expand alone: `key` is uniformly random already. kInvalidArgument as above.
Status hkdf_sha512_expand(ByteSpan key, ByteSpan info, MutableByteSpan out);

}  // namespace ostal::security
