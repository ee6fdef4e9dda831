#include "security/storage/sealed_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "security/storage/chunked_aead.h"

namespace ostal::security {
namespace {

constexpr std::string_view kMagic = "OSTWGT1\n";
constexpr std::string_view kContextLabel("ostal/weights/v1\0", 17);
constexpr std::uint16_t kVersion = 1;
constexpr std::uint16_t kSuiteCobblestone256 = 1;
constexpr std::size_t kFieldsEnd = 184;

Bytes context_of(ByteSpan header) {
    Bytes context;
    append(context, as_bytes(kContextLabel));
    append(context, header);
    return context;
}

template <std::size_t N>
void copy_out(ByteSpan bytes, std::size_t at, std::array<std::uint8_t, N>& out) {
    std::copy_n(bytes.data() + at, N, out.data());
}

// What must stay the same while a file is read.
struct Identity {
    dev_t device;
    ino_t inode;
    off_t size_bytes;
    std::int64_t modified_ns;
    friend bool operator==(const Identity&, const Identity&) = default;
};

Result<Identity> identity_of(const File& file, const std::string& path) {
    struct stat info {};
    if (::fstat(file.descriptor(), &info) != 0) return fail(errno_error(errno, "cannot stat " + path));
    return Identity{info.st_dev, info.st_ino, info.st_size,
                    info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec};
}

Result<std::array<std::uint8_t, kSealedHeaderBytes>> read_header_bytes(File& file) {
    std::array<std::uint8_t, kSealedHeaderBytes> bytes;
    OSTAL_TRY(const std::size_t got, file.pread(bytes, 0));
    if (got != bytes.size()) return fail(Code::kIntegrity, "the container is shorter than its header");
    return bytes;
}

}  // namespace

std::array<std::uint8_t, kSealedHeaderBytes> encode_sealed_header(const SealedHeader& header) {
    CHECK_LE(header.plaintext_bytes, kMaxSealedPlaintextBytes);
    std::array<std::uint8_t, kSealedHeaderBytes> out{};
    const auto put = [&](std::size_t at, ByteSpan bytes) {
        std::copy(bytes.begin(), bytes.end(), out.data() + at);
    };
    put(0, as_bytes(kMagic));
    store_le<std::uint16_t>(out.data() + 8, kVersion);
    store_le<std::uint16_t>(out.data() + 10, kSuiteCobblestone256);
    store_le<std::uint32_t>(out.data() + 12, kSealedHeaderBytes);
    put(16, header.file_id);
    put(32, header.dek_id);
    store_le<std::uint64_t>(out.data() + 48, header.plaintext_bytes);
    put(56, header.sha256);
    put(88, header.merkle_root);
    put(120, header.target_sha256);
    put(152, header.path_sha256);
    return out;
}

Result<SealedHeader> parse_sealed_header(ByteSpan bytes) {
    if (bytes.size() != kSealedHeaderBytes || as_text(bytes.first(kMagic.size())) != kMagic) {
        return fail(Code::kIntegrity, "this is no container of encrypted weights");
    }
    if (load_le<std::uint16_t>(bytes.data() + 8) != kVersion ||
        load_le<std::uint16_t>(bytes.data() + 10) != kSuiteCobblestone256) {
        return fail(Code::kUnsupported,
                    "the container has a version or suite that this program does not read");
    }
    SealedHeader header;
    header.plaintext_bytes = load_le<std::uint64_t>(bytes.data() + 48);
    const ByteSpan padding = bytes.subspan(kFieldsEnd);
    if (load_le<std::uint32_t>(bytes.data() + 12) != kSealedHeaderBytes ||
        header.plaintext_bytes > kMaxSealedPlaintextBytes ||
        std::any_of(padding.begin(), padding.end(), [](std::uint8_t byte) { return byte != 0; })) {
        return fail(Code::kIntegrity, "the container's header is malformed");
    }
    copy_out(bytes, 16, header.file_id);
    copy_out(bytes, 32, header.dek_id);
    copy_out(bytes, 56, header.sha256);
    copy_out(bytes, 88, header.merkle_root);
    copy_out(bytes, 120, header.target_sha256);
    copy_out(bytes, 152, header.path_sha256);
    return header;
}

Result<SealedHeader> read_sealed_header(Files& files, const std::string& path) {
    OSTAL_TRY(const auto file, files.open(path, Files::Open::kRead));
    OSTAL_TRY(const auto bytes, read_header_bytes(*file));
    return parse_sealed_header(bytes);
}

std::uint64_t sealed_file_bytes(std::uint64_t plaintext_bytes) {
    return kSealedHeaderBytes + chunked_stream_bytes(plaintext_bytes);
}

struct SealedWriter::State {
    Files& files;
    std::string path;
    SealedHeader header;
    std::unique_ptr<File> file;
    ChunkedWriter stream;
    ContentHasher hasher;
    std::uint64_t taken_bytes = 0;
    bool broken = false;
    bool finished = false;

    Status take(ByteSpan plaintext) {
        if (plaintext.size() > header.plaintext_bytes - taken_bytes) {
            return fail(Code::kIntegrity, "the content is longer than its signed length");
        }
        taken_bytes += plaintext.size();
        hasher.update(plaintext);
        return stream.write(plaintext);
    }
    // Compares before the last chunk is written: a container of other content is never whole.
    Status complete() {
        const ContentDigest digest = hasher.finish();
        if (digest.bytes != header.plaintext_bytes) {
            return fail(Code::kIntegrity, "the content is shorter than its signed length");
        }
        if (digest.sha256 != header.sha256 || digest.merkle_root != header.merkle_root) {
            return fail(Code::kIntegrity, "the content does not have its signed digest");
        }
        OSTAL_TRYV(stream.finish());
        return file->fsync();
    }
};

SealedWriter::SealedWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

SealedWriter::~SealedWriter() {
    if (state_->finished) return;
    state_->file.reset();
    (void)state_->files.remove_file(state_->path);
}

Result<std::unique_ptr<SealedWriter>> SealedWriter::create(Files& files, const std::string& path,
                                                           const SealedHeader& header, KeyView dek,
                                                           RandomSource& random) {
    if (header.plaintext_bytes > kMaxSealedPlaintextBytes) {
        return fail(Code::kTooLarge, "a container holds at most 2^46 bytes");
    }
    OSTAL_TRY(auto file, files.open(path, Files::Open::kCreate));
    ChunkedSalt salt;
    random.fill(salt);
    const auto header_bytes = encode_sealed_header(header);
    File& raw = *file;
    // From here on a failure removes the file.
    std::unique_ptr<SealedWriter> writer(new SealedWriter(std::unique_ptr<State>(
        new State{files, path, header, std::move(file),
                  ChunkedWriter(raw, dek, salt, context_of(header_bytes)), ContentHasher()})));
    OSTAL_TRYV(raw.write(header_bytes));
    OSTAL_TRYV(writer->state_->stream.start());
    return writer;
}

Status SealedWriter::write(ByteSpan plaintext) {
    CHECK(!state_->finished);
    if (state_->broken) return fail(Code::kConflict, "the container could not be written before");
    const Status status = state_->take(plaintext);
    state_->broken = !status;
    return status;
}

Status SealedWriter::finish() {
    CHECK(!state_->finished);
    if (state_->broken) return fail(Code::kConflict, "the container could not be written before");
    const Status status = state_->complete();
    state_->broken = !status;
    state_->finished = status.has_value();
    return status;
}

struct SealedReader::State {
    std::string path;
    std::unique_ptr<File> file;
    Identity identity;
    SealedHeader header;
    ChunkedReader stream;
};

SealedReader::SealedReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
SealedReader::~SealedReader() = default;
const SealedHeader& SealedReader::header() const { return state_->header; }

Result<std::unique_ptr<SealedReader>> SealedReader::open(Files& files, const std::string& path, KeyView dek) {
    OSTAL_TRY(auto file, files.open(path, Files::Open::kRead));
    OSTAL_TRY(const Identity identity, identity_of(*file, path));
    OSTAL_TRY(const auto header_bytes, read_header_bytes(*file));
    OSTAL_TRY(const SealedHeader header, parse_sealed_header(header_bytes));
    const auto size_bytes = static_cast<std::uint64_t>(identity.size_bytes);
    if (size_bytes != sealed_file_bytes(header.plaintext_bytes)) {
        return fail(Code::kIntegrity, "the container has not the size that its header says");
    }
    auto stream = ChunkedReader::open(*file, kSealedHeaderBytes, size_bytes - kSealedHeaderBytes, dek,
                                      context_of(header_bytes));
    if (!stream) return fail(std::move(stream).error().with("while opening " + path));
    std::unique_ptr<SealedReader> reader(new SealedReader(
        std::unique_ptr<State>(new State{path, std::move(file), identity, header, std::move(*stream)})));
    OSTAL_TRYV(reader->check_unchanged());
    return reader;
}

Status SealedReader::check_unchanged() const {
    OSTAL_TRY(const Identity now, identity_of(*state_->file, state_->path));
    if (!(now == state_->identity)) {
        return fail(Code::kIntegrity, state_->path + " changed while it was open");
    }
    return {};
}

Status SealedReader::read(std::uint64_t offset, MutableByteSpan out) const {
    auto status = state_->stream.read(offset, out);
    if (!status) return fail(std::move(status).error().with("while reading " + state_->path));
    return {};
}

Status SealedReader::read_parallel(std::uint64_t offset, MutableByteSpan out, int threads) const {
    CHECK_GE(threads, 1);
    auto status = state_->stream.read_parallel(offset, out, threads);
    if (!status) return fail(std::move(status).error().with("while reading " + state_->path));
    if (auto unchanged = check_unchanged(); !unchanged) {
        wipe(out);
        return unchanged;
    }
    return {};
}

}  // namespace ostal::security
