// The encrypted weight container `.ostw`: a header and the plaintext in chunks
// of AES-256-GCM.
//
//   0    8   magic "OSTWGT1\n"
//   8    2   version = 1       10 2 suite = 1 (Cobblestone-256)     12 4 header
//   length = 4096; integers LE 16   16  file id (random)  32 16 dek id 48 8
//   plaintext length 56   32  SHA-256 of the plaintext       88 32 Merkle root
//   (merkle.h) over 1 MiB plaintext leaves 120  32  SHA-256 of the canonical
//   JSON of {path: target object}     152 32 SHA-256 of the target path 184
//   zeros to 4096 4096 24  salt | 32 commitment | chunks of 16384 + 16 bytes,
//   the last one shorter (maybe empty) + 16
//
// C2SP chunked-encryption, instance Cobblestone-256: key, base nonce and
// commitment come from HKDF-Expand-SHA-512 over the DEK, the salt and the
// context "ostal/weights/v1\0" || header, so every header byte is bound before
// any chunk is read (chunked_aead.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/file.h"
#include "base/random.h"
#include "base/result.h"
#include "security/crypto/content_hasher.h"
#include "security/secret.h"
#include "security/storage/ids.h"

namespace ostal::security {

inline constexpr std::size_t kSealedHeaderBytes = 4096;
inline constexpr std::uint64_t kMaxSealedPlaintextBytes = 1ULL << 46;

struct SealedHeader {
    Id file_id{};
    Id dek_id{};
    std::uint64_t plaintext_bytes = 0;
    Digest32 sha256{};         // of the plaintext, from the signed target
    Digest32 merkle_root{};    // from the signed target
    Digest32 target_sha256{};  // of the canonical JSON of {path: target object}
    Digest32 path_sha256{};    // of the target path
    friend bool operator==(const SealedHeader&, const SealedHeader&) = default;
};

std::array<std::uint8_t, kSealedHeaderBytes> encode_sealed_header(const SealedHeader& header);
// Strict: kIntegrity for any byte that encode would not write; kUnsupported for
// an unknown version or suite.
Result<SealedHeader> parse_sealed_header(ByteSpan bytes);
// Of a container on disk, to find the DEK. Not authenticated before
// SealedReader::open succeeds.
Result<SealedHeader> read_sealed_header(Files& files, const std::string& path);
// Size of the container of a plaintext.
std::uint64_t sealed_file_bytes(std::uint64_t plaintext_bytes);

// Writes one container. The header is complete (digests from the signed target)
// before encryption starts; the plaintext is hashed on its way through and
// finish() compares. One thread at a time.
class SealedWriter {
public:
    // A new file at `path` (kConflict when it exists).
    static Result<std::unique_ptr<SealedWriter>> create(Files& files, const std::string& path,
                                                        const SealedHeader& header, KeyView dek,
                                                        RandomSource& random);
    // Without a successful finish() the file is removed.
    ~SealedWriter();
    SealedWriter(const SealedWriter&) = delete;
    SealedWriter& operator=(const SealedWriter&) = delete;

    // Any piece sizes. kIntegrity once more than the header's length came.
    Status write(ByteSpan plaintext);
    // kIntegrity when length, digest or root differ from the header's; durable
    // (file, not folder) on success.
    Status finish();

private:
    struct State;
    explicit SealedWriter(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Random access to the plaintext of one container. Thread-safe.
//
// Any failure is kIntegrity naming the chunk; the destination is zeroed then,
// so nothing unauthenticated is left in it. A file that changes while it is
// open is refused.
class SealedReader {
public:
    // Checks the size against the header's length, then the commitment, then the
    // last chunk.
    static Result<std::unique_ptr<SealedReader>> open(Files& files, const std::string& path, KeyView dek);
    ~SealedReader();
    SealedReader(const SealedReader&) = delete;
    SealedReader& operator=(const SealedReader&) = delete;

    const SealedHeader& header() const;
    std::uint64_t size_bytes() const { return header().plaintext_bytes; }
    // Fills `out` from plaintext `offset`. kInvalidArgument past the end.
    Status read(std::uint64_t offset, MutableByteSpan out) const;
    // The same by `threads` threads, decrypting straight into `out`.
    Status read_parallel(std::uint64_t offset, MutableByteSpan out, int threads) const;
    // fstat again: kIntegrity when inode, size or modification time differ from
    // open(). read_parallel asks too.
    Status check_unchanged() const;

private:
    struct State;
    explicit SealedReader(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace ostal::security
