#include "security/storage/chunked_aead.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/thread.h"
#include "security/crypto/hkdf.h"

namespace ostal::security {
namespace {

constexpr std::string_view kLabel("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0", 48);
// Chunks that a writer collects, and that a reading thread fetches at once: 1 MiB stays in the second-level
// cache between the copy from the kernel and the decryption (4 MiB measured a tenth slower).
constexpr std::size_t kWriteBatch = 64;
constexpr std::uint64_t kReadBatch = 64;

Status damaged(std::uint64_t chunk) {
    return fail(Code::kIntegrity, "chunk " + std::to_string(chunk) + " does not authenticate");
}

}  // namespace

ChunkedKeys derive_chunked_keys(KeyView secret, const ChunkedSalt& salt, ByteSpan context) {
    Bytes info;
    append(info, as_bytes(kLabel));
    append(info, salt);
    append(info, context);
    Secret<32 + kGcmNonceBytes + 32> okm;
    CHECK(hkdf_sha512_expand(secret, info, okm.mutable_bytes()));
    ChunkedKeys keys;
    const ByteSpan bytes = okm.bytes();
    std::copy_n(bytes.data(), 32, keys.key.mutable_bytes().data());
    std::copy_n(bytes.data() + 32, kGcmNonceBytes, keys.base_nonce.data());
    std::copy_n(bytes.data() + 32 + kGcmNonceBytes, 32, keys.commitment.data());
    return keys;
}

std::array<std::uint8_t, kGcmNonceBytes> ChunkedKeys::nonce(std::uint64_t chunk) const {
    std::array<std::uint8_t, kGcmNonceBytes> out = base_nonce;
    for (std::size_t i = 0; i < sizeof(chunk); ++i) {
        out[kGcmNonceBytes - 1 - i] ^= static_cast<std::uint8_t>(chunk >> (8 * i));
    }
    return out;
}

std::uint64_t chunked_stream_bytes(std::uint64_t plaintext_bytes) {
    CHECK_LT(plaintext_bytes, 1ULL << 62);
    const std::uint64_t chunks = plaintext_bytes / kChunkBytes + 1;
    return kChunkedPreambleBytes + plaintext_bytes + chunks * kAeadTagBytes;
}

Result<std::uint64_t> chunked_plaintext_bytes(std::uint64_t stream_bytes) {
    const Status wrong = fail(Code::kIntegrity, "the encrypted stream is cut off or has trailing bytes");
    if (stream_bytes < kChunkedPreambleBytes + kAeadTagBytes || stream_bytes >= 1ULL << 62) {
        return fail(wrong.error());
    }
    const std::uint64_t body = stream_bytes - kChunkedPreambleBytes;
    const std::uint64_t last = body % kSealedChunkBytes;
    if (last < kAeadTagBytes) return fail(wrong.error());
    return body / kSealedChunkBytes * kChunkBytes + (last - kAeadTagBytes);
}

ChunkedWriter::ChunkedWriter(File& file, KeyView secret, const ChunkedSalt& salt, ByteSpan context)
    : file_(file),
      salt_(salt),
      keys_(derive_chunked_keys(secret, salt, context)),
      cipher_(keys_.key.view()),
      sealed_(kWriteBatch * kSealedChunkBytes) {
    pending_.reserve(kWriteBatch * kChunkBytes);
}

ChunkedWriter::~ChunkedWriter() { wipe(pending_); }

Status ChunkedWriter::start() {
    Bytes preamble(salt_.begin(), salt_.end());
    append(preamble, keys_.commitment);
    return file_.write(preamble);
}

Status ChunkedWriter::write(ByteSpan plaintext) {
    while (!plaintext.empty()) {
        const std::size_t count = std::min(plaintext.size(), kWriteBatch * kChunkBytes - pending_.size());
        append(pending_, plaintext.first(count));
        plaintext = plaintext.subspan(count);
        if (pending_.size() == kWriteBatch * kChunkBytes) OSTAL_TRYV(flush(pending_.size()));
    }
    return {};
}

// Whole chunks, but for the last call. The pending plaintext is gone after it.
Status ChunkedWriter::flush(std::size_t plaintext_bytes) {
    std::size_t sealed = 0;
    for (std::size_t at = 0; at < plaintext_bytes; at += kChunkBytes) {
        const std::size_t count = std::min(kChunkBytes, plaintext_bytes - at);
        cipher_.seal(keys_.nonce(next_chunk_++), {}, ByteSpan(pending_).subspan(at, count),
                     MutableByteSpan(sealed_).subspan(sealed, count + kAeadTagBytes));
        sealed += count + kAeadTagBytes;
    }
    wipe(pending_);
    return file_.write(ByteSpan(sealed_).first(sealed));
}

Status ChunkedWriter::finish() {
    const bool last_is_empty = pending_.size() % kChunkBytes == 0;
    if (!pending_.empty()) OSTAL_TRYV(flush(pending_.size()));
    if (!last_is_empty) return {};
    std::array<std::uint8_t, kAeadTagBytes> tag;
    cipher_.seal(keys_.nonce(next_chunk_++), {}, {}, tag);
    return file_.write(tag);
}

ChunkedReader::ChunkedReader(File& file, std::uint64_t chunks_at, std::uint64_t plaintext_bytes,
                             ChunkedKeys keys)
    : file_(&file), chunks_at_(chunks_at), plaintext_bytes_(plaintext_bytes), keys_(std::move(keys)) {}

// One thread's cipher and buffers.
class ChunkedReader::Worker {
public:
    explicit Worker(const ChunkedReader& reader) : reader_(reader), cipher_(reader.keys_.key.view()) {}
    ~Worker() { wipe(edge_); }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Chunks [first, end), at most kReadBatch, as far as they overlap the plaintext range that begins at
    // `offset` and fills `out`.
    Status read(std::uint64_t first, std::uint64_t end, std::uint64_t offset, MutableByteSpan out) {
        const std::uint64_t from = first * kSealedChunkBytes;
        const std::uint64_t to = std::min(end * kSealedChunkBytes, stream_end());
        sealed_.resize(static_cast<std::size_t>(to - from));
        OSTAL_TRY(const std::size_t got, reader_.file_->pread(sealed_, reader_.chunks_at_ + from));
        if (got != sealed_.size()) return damaged(first + got / kSealedChunkBytes);
        for (std::uint64_t chunk = first; chunk < end; ++chunk) {
            const auto at = static_cast<std::size_t>((chunk - first) * kSealedChunkBytes);
            const std::size_t count = std::min(kSealedChunkBytes, sealed_.size() - at);
            OSTAL_TRYV(open(chunk, ByteSpan(sealed_).subspan(at, count), offset, out));
        }
        return {};
    }

private:
    std::uint64_t stream_end() const {
        return chunked_stream_bytes(reader_.plaintext_bytes_) - kChunkedPreambleBytes;
    }
    // A chunk inside of the range is decrypted in place (and zeroed there when its tag is wrong); one that
    // sticks out goes through `edge_`.
    Status open(std::uint64_t chunk, ByteSpan sealed, std::uint64_t offset, MutableByteSpan out) {
        const std::uint64_t begin = chunk * kChunkBytes;
        const std::size_t count = sealed.size() - kAeadTagBytes;
        const bool inside = begin >= offset && begin - offset + count <= out.size();
        if (inside) {
            const MutableByteSpan to = out.subspan(static_cast<std::size_t>(begin - offset), count);
            if (!cipher_.open(reader_.keys_.nonce(chunk), {}, sealed, to)) return damaged(chunk);
            return {};
        }
        edge_.resize(count);
        if (!cipher_.open(reader_.keys_.nonce(chunk), {}, sealed, edge_)) return damaged(chunk);
        const std::uint64_t from = std::max(begin, offset);
        const std::uint64_t to = std::min(begin + count, offset + out.size());
        std::copy_n(edge_.data() + (from - begin), to - from, out.data() + (from - offset));
        return {};
    }
    const ChunkedReader& reader_;
    Aes256Gcm cipher_;
    Bytes sealed_;
    Bytes edge_;
};

Result<ChunkedReader> ChunkedReader::open(File& file, std::uint64_t offset, std::uint64_t stream_bytes,
                                          KeyView secret, ByteSpan context) {
    OSTAL_TRY(const std::uint64_t plaintext_bytes, chunked_plaintext_bytes(stream_bytes));
    std::array<std::uint8_t, kChunkedPreambleBytes> preamble;
    OSTAL_TRY(const std::size_t got, file.pread(preamble, offset));
    if (got != preamble.size()) return fail(Code::kIntegrity, "the encrypted stream is cut off");
    ChunkedSalt salt;
    std::copy_n(preamble.data(), salt.size(), salt.data());
    ChunkedKeys keys = derive_chunked_keys(secret, salt, context);
    if (!constant_time_equal(keys.commitment, ByteSpan(preamble).subspan(kChunkedSaltBytes))) {
        return fail(Code::kIntegrity, "the header was altered or the key is not its own");
    }
    ChunkedReader reader(file, offset + kChunkedPreambleBytes, plaintext_bytes, std::move(keys));
    const std::uint64_t last = plaintext_bytes / kChunkBytes;
    Bytes tail(static_cast<std::size_t>(plaintext_bytes % kChunkBytes));
    const Status status = Worker(reader).read(last, last + 1, last * kChunkBytes, tail);
    wipe(tail);
    if (!status) return fail(status.error());
    return reader;
}

Status ChunkedReader::read_parallel(std::uint64_t offset, MutableByteSpan out, int threads) const {
    if (offset > plaintext_bytes_ || out.size() > plaintext_bytes_ - offset) {
        return fail(Code::kInvalidArgument, "a read past the end of the encrypted file");
    }
    if (out.empty()) return {};
    const std::uint64_t first = offset / kChunkBytes;
    const std::uint64_t end = (offset + out.size() - 1) / kChunkBytes + 1;
    std::atomic<std::uint64_t> next{first};
    std::mutex mutex;
    std::optional<Error> error;  // the first one; guarded by mutex
    std::atomic<bool> stop{false};
    const auto work = [&] {
        Worker worker(*this);
        while (!stop.load()) {
            const std::uint64_t begin = next.fetch_add(kReadBatch);
            if (begin >= end) return;
            if (auto status = worker.read(begin, std::min(begin + kReadBatch, end), offset, out); !status) {
                const std::lock_guard lock(mutex);
                if (!error) error = std::move(status).error();
                stop = true;
            }
        }
    };
    {
        const std::uint64_t batches = (end - first + kReadBatch - 1) / kReadBatch;
        std::vector<NamedThread> helpers;
        for (std::uint64_t i = 1; i < std::min<std::uint64_t>(static_cast<std::uint64_t>(threads), batches);
             ++i) {
            helpers.emplace_back("unseal", work);
        }
        work();
    }
    if (!error) return {};
    wipe(out);
    return fail(std::move(*error));
}

}  // namespace ostal::security
