// C2SP chunked-encryption (c2sp.org/chunked-encryption), instance Cobblestone-256: AES-256-GCM chunks with
// keys from HKDF-SHA-512.
//
//   stream = salt24 | commitment32 | chunk 0 | chunk 1 | ... | last chunk
//   chunk  = ciphertext | tag16; 16384 bytes of plaintext each, the last one fewer (maybe none)
//   key32 | base_nonce12 | commitment32 =
//       HKDF-Expand-SHA-512(secret, "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" | salt | context)
//   nonce of chunk i = base_nonce XOR i (big-endian, in the last bytes); AAD empty
//
// A full last chunk does not exist, so a stream cut at a chunk border has no end and is refused; reordering
// and splicing fail by nonce and key, another key or context by the commitment before any chunk is read.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/file.h"
#include "base/result.h"
#include "security/crypto/aead.h"
#include "security/crypto/hash.h"
#include "security/secret.h"

namespace ostal::security {

inline constexpr std::size_t kChunkBytes = 16384;
inline constexpr std::size_t kSealedChunkBytes = kChunkBytes + kAeadTagBytes;
inline constexpr std::size_t kChunkedSaltBytes = 24;
inline constexpr std::size_t kChunkedPreambleBytes = kChunkedSaltBytes + 32;  // salt, commitment

using ChunkedSalt = std::array<std::uint8_t, kChunkedSaltBytes>;

struct ChunkedKeys {
    Secret<32> key;
    std::array<std::uint8_t, kGcmNonceBytes> base_nonce{};
    Digest32 commitment{};
    std::array<std::uint8_t, kGcmNonceBytes> nonce(std::uint64_t chunk) const;
};
ChunkedKeys derive_chunked_keys(KeyView secret, const ChunkedSalt& salt, ByteSpan context);

// Size of the stream of a plaintext below 2^62 bytes.
std::uint64_t chunked_stream_bytes(std::uint64_t plaintext_bytes);
// The inverse. kIntegrity when no plaintext has a stream of this size.
Result<std::uint64_t> chunked_plaintext_bytes(std::uint64_t stream_bytes);

// Encrypts a stream to the current position of a file. The salt must be fresh for each stream. One thread at
// a time; after a failed call the stream is lost.
class ChunkedWriter {
public:
    // `file` outlives this object.
    ChunkedWriter(File& file, KeyView secret, const ChunkedSalt& salt, ByteSpan context);
    ~ChunkedWriter();
    // Salt and commitment; first of all.
    Status start();
    Status write(ByteSpan plaintext);
    // What is left and the last chunk.
    Status finish();

private:
    Status flush(std::size_t plaintext_bytes);
    File& file_;
    ChunkedSalt salt_;
    ChunkedKeys keys_;
    Aes256Gcm cipher_;
    std::uint64_t next_chunk_ = 0;
    Bytes pending_;  // plaintext; never reallocated
    Bytes sealed_;
};

// Random access to a stream that lies in a file. Const methods are thread-safe; each call has its own cipher.
//
// Any chunk that does not authenticate is kIntegrity naming it, and the whole destination is zeroed on any
// failure.
class ChunkedReader {
public:
    // The stream is [offset, offset + stream_bytes) of `file`, which outlives this object. Checks the size's
    // form, the commitment, and the last chunk (so that the length is proven).
    static Result<ChunkedReader> open(File& file, std::uint64_t offset, std::uint64_t stream_bytes,
                                      KeyView secret, ByteSpan context);
    std::uint64_t plaintext_bytes() const { return plaintext_bytes_; }
    // kInvalidArgument past the end.
    Status read(std::uint64_t offset, MutableByteSpan out) const { return read_parallel(offset, out, 1); }
    Status read_parallel(std::uint64_t offset, MutableByteSpan out, int threads) const;

private:
    class Worker;
    ChunkedReader(File& file, std::uint64_t chunks_at, std::uint64_t plaintext_bytes, ChunkedKeys keys);
    File* file_;
    std::uint64_t chunks_at_;
    std::uint64_t plaintext_bytes_;
    ChunkedKeys keys_;
};

}  // namespace ostal::security
