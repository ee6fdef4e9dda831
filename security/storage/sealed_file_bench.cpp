// How fast containers are written and read, beside bare AES-256-GCM over the same chunk size in the same run.
//   sealed_file_bench [MiB] [threads] [folder]
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/check.h"
#include "base/clock.h"
#include "security/storage/chunked_aead.h"
#include "security/storage/sealed_file.h"

namespace ostal::security {
namespace {

// Wall time, and the processor time of all threads: the second still compares on a busy machine.
class Stopwatch {
public:
    void print(const char* what, std::size_t bytes) const {
        const double wall_us = static_cast<double>(clock_.mono_now_us() - start_us_);
        const double cpu_us = static_cast<double>(std::clock() - start_cpu_) * 1e6 / CLOCKS_PER_SEC;
        const double size = static_cast<double>(bytes);
        std::printf("%-42s %6.2f GB/s, %6.2f GB a CPU second\n", what, size / 1e3 / wall_us,
                    size / 1e3 / cpu_us);
    }

private:
    SystemClock clock_;
    std::int64_t start_us_ = clock_.mono_now_us();
    std::clock_t start_cpu_ = std::clock();
};

void run(std::size_t mib, int threads, const std::string& folder) {
    PosixFiles files;
    SeededRandom random(1);
    const auto dek = Secret<32>::from_random(random);
    const std::string path = join_path(folder, "sealed_file_bench.ostw");
    Bytes plaintext(mib << 20);
    for (std::size_t at = 0; at < plaintext.size(); at += 4096) {
        random.fill(MutableByteSpan(plaintext).subspan(at, 16));
    }
    (void)files.remove_file(path);

    Aes256Gcm cipher(dek.view());
    Bytes sealed(kSealedChunkBytes);
    Bytes opened(kChunkBytes);
    std::array<std::uint8_t, kGcmNonceBytes> nonce{};
    cipher.seal(nonce, {}, ByteSpan(plaintext).first(kChunkBytes), sealed);
    const Stopwatch bare;
    for (std::size_t at = 0; at < plaintext.size(); at += kChunkBytes) {
        CHECK(cipher.open(nonce, {}, sealed, opened));
    }
    bare.print("AES-256-GCM, one chunk in cache", plaintext.size());

    ContentHasher hasher;
    const Stopwatch hashing;
    hasher.update(plaintext);
    const ContentDigest digest = hasher.finish();
    hashing.print("SHA-256 and Merkle root", plaintext.size());

    SealedHeader header;
    header.plaintext_bytes = digest.bytes;
    header.sha256 = digest.sha256;
    header.merkle_root = digest.merkle_root;
    const Stopwatch writing;
    {
        const auto writer = SealedWriter::create(files, path, header, dek.view(), random).value();
        CHECK(writer->write(plaintext));
        CHECK(writer->finish());
    }
    writing.print("SealedWriter with fsync", plaintext.size());

    const auto reader = SealedReader::open(files, path, dek.view()).value();
    Bytes out(plaintext.size());
    for (int count = 1; count <= threads; ++count) {
        const Stopwatch reading;
        CHECK(reader->read_parallel(0, out, count));
        reading.print(("SealedReader, threads: " + std::to_string(count)).c_str(), out.size());
    }
    CHECK(out == plaintext);
    CHECK(files.remove_file(path));
}

}  // namespace
}  // namespace ostal::security

int main(int argc, char** argv) {
    const auto mib = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : std::size_t{64};
    const int threads = argc > 2 ? std::atoi(argv[2]) : 2;
    ostal::security::run(mib == 0 ? 1 : mib, threads < 1 ? 1 : threads, argc > 3 ? argv[3] : "/tmp");
}
