#include "security/storage/sealed_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "security/crypto/merkle.h"
#include "security/storage/chunked_aead.h"

namespace ostal::security {
namespace {

class SealedFileTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ostal_sealed_XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string path(const std::string& name) const { return join_path(folder_, name); }

    Bytes content(std::size_t size) {
        Bytes out(size);
        random_.fill(out);
        return out;
    }
    SealedHeader header_for(ByteSpan plaintext) {
        ContentHasher hasher;
        hasher.update(plaintext);
        const ContentDigest digest = hasher.finish();
        SealedHeader header;
        random_.fill(header.file_id);
        random_.fill(header.dek_id);
        random_.fill(header.target_sha256);
        random_.fill(header.path_sha256);
        header.plaintext_bytes = digest.bytes;
        header.sha256 = digest.sha256;
        header.merkle_root = digest.merkle_root;
        return header;
    }
    // Creates, writes in random pieces, finishes.
    Status seal(Files& files, const std::string& to, const SealedHeader& header, ByteSpan plaintext) {
        OSTAL_TRY(const auto writer, SealedWriter::create(files, to, header, dek_.view(), random_));
        while (!plaintext.empty()) {
            const auto count = static_cast<std::size_t>(
                std::min<std::uint64_t>(plaintext.size(), 1 + random_.below(100'000)));
            OSTAL_TRYV(writer->write(plaintext.first(count)));
            plaintext = plaintext.subspan(count);
        }
        return writer->finish();
    }
    Bytes sealed_bytes(const std::string& name) { return read_file(files_, path(name), 64 << 20).value(); }
    void put(const std::string& name, ByteSpan bytes) {
        ASSERT_TRUE(replace_file(files_, path(name), bytes));
    }
    // Opens and reads all; success must mean exactly `plaintext`.
    Status read_all(const std::string& name, Bytes& out) {
        OSTAL_TRY(const auto reader, SealedReader::open(files_, path(name), dek_.view()));
        out.assign(static_cast<std::size_t>(reader->size_bytes()), 0xee);
        return reader->read_parallel(0, out, 2);
    }

    std::string folder_;
    PosixFiles files_;
    SeededRandom random_{7};
    Secret<32> dek_ = Secret<32>::from_random(random_);
};

TEST_F(SealedFileTest, RoundTripAtEveryBorder) {
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, kChunkBytes - 1, kChunkBytes, kChunkBytes + 1, kMerkleLeafBytes - 1,
          kMerkleLeafBytes, kMerkleLeafBytes + 1, 3 * kMerkleLeafBytes + 12345, std::size_t{9} << 20}) {
        SCOPED_TRACE(size);
        const Bytes plaintext = content(size);
        const SealedHeader header = header_for(plaintext);
        const std::string name = "c" + std::to_string(size);
        const Status sealed = seal(files_, path(name), header, plaintext);
        ASSERT_TRUE(sealed) << sealed.error().to_string();
        EXPECT_EQ(files_.info(path(name))->size_bytes, sealed_file_bytes(size));
        EXPECT_EQ(files_.info(path(name))->mode, 0600U);
        EXPECT_EQ(read_sealed_header(files_, path(name)).value(), header);
        Bytes out;
        ASSERT_TRUE(read_all(name, out));
        EXPECT_TRUE(out == plaintext);
        std::filesystem::remove(path(name));
    }
}

TEST_F(SealedFileTest, RootIsOverMebibyteLeaves) {
    const Bytes plaintext = content(2 * kMerkleLeafBytes + 5);
    const ByteSpan all(plaintext);
    const std::vector<Digest32> leaves{merkle_leaf(all.first(kMerkleLeafBytes)),
                                       merkle_leaf(all.subspan(kMerkleLeafBytes, kMerkleLeafBytes)),
                                       merkle_leaf(all.subspan(2 * kMerkleLeafBytes))};
    const SealedHeader header = header_for(plaintext);
    EXPECT_EQ(header.merkle_root, merkle_root(leaves));
    EXPECT_EQ(header.sha256, sha256(plaintext));
    EXPECT_EQ(header_for({}).merkle_root, merkle_root({}));
}

TEST_F(SealedFileTest, RandomAccess) {
    const Bytes plaintext = content(5 * kMerkleLeafBytes + 777);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    const auto reader = SealedReader::open(files_, path("c"), dek_.view()).value();
    for (int i = 0; i < 300; ++i) {
        const std::uint64_t offset = random_.below(plaintext.size() + 1);
        const std::uint64_t left = plaintext.size() - offset;
        const auto count = static_cast<std::size_t>(
            std::min<std::uint64_t>(left, random_.below(i % 10 == 0 ? left + 1 : 40'000)));
        Bytes out(count);
        ASSERT_TRUE(i % 2 == 0 ? reader->read(offset, out) : reader->read_parallel(offset, out, 3));
        ASSERT_TRUE(
            std::equal(out.begin(), out.end(), plaintext.begin() + static_cast<std::ptrdiff_t>(offset)));
    }
    Bytes two(2);
    EXPECT_EQ(reader->read(plaintext.size() - 1, two).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(reader->read(UINT64_MAX, two).error().code(), Code::kInvalidArgument);
    EXPECT_TRUE(reader->read(plaintext.size(), {}));
}

TEST_F(SealedFileTest, ManyThreadsReadOneReader) {
    const Bytes plaintext = content(kMerkleLeafBytes + 4321);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    const auto reader = SealedReader::open(files_, path("c"), dek_.view()).value();
    std::vector<std::thread> threads;
    std::array<bool, 4> good{};
    for (std::size_t t = 0; t < good.size(); ++t) {
        threads.emplace_back([&, t] {
            bool all = true;
            for (std::size_t offset = t * 1000; offset + 30'000 < plaintext.size(); offset += 37'000) {
                Bytes out(30'000);
                all = all && reader->read(offset, out) &&
                      std::equal(out.begin(), out.end(),
                                 plaintext.begin() + static_cast<std::ptrdiff_t>(offset));
            }
            good[t] = all;
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const bool one : good) EXPECT_TRUE(one);
}

TEST_F(SealedFileTest, EveryAlteredByteIsRefused) {
    const Bytes plaintext = content(kChunkBytes + 100);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    const Bytes good = sealed_bytes("c");
    const int fd = ::open(path("c").c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    Bytes out;
    for (std::size_t i = 0; i < good.size(); ++i) {
        const auto bad = static_cast<std::uint8_t>(good[i] ^ (1U << (i % 8)));
        ASSERT_EQ(::pwrite(fd, &bad, 1, static_cast<off_t>(i)), 1);
        const Status status = read_all("c", out);
        ASSERT_FALSE(status) << "byte " << i;
        ASSERT_TRUE(status.error().code() == Code::kIntegrity || (i >= 8 && i < 12)) << "byte " << i;
        ASSERT_EQ(::pwrite(fd, &good[i], 1, static_cast<off_t>(i)), 1);
    }
    ::close(fd);
    ASSERT_TRUE(read_all("c", out));
    EXPECT_TRUE(out == plaintext);
}

TEST_F(SealedFileTest, EveryTruncationAndExtensionIsRefused) {
    const Bytes plaintext = content(kChunkBytes + 100);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    Bytes good = sealed_bytes("c");
    Bytes out;
    for (const std::size_t extra : {1U, 15U, 16U, 17U, 16400U}) {
        Bytes longer = good;
        longer.resize(good.size() + extra);
        put("longer", longer);
        EXPECT_EQ(read_all("longer", out).error().code(), Code::kIntegrity);
    }
    for (std::size_t size = good.size(); size-- > 0;) {
        ASSERT_EQ(::truncate(path("c").c_str(), static_cast<off_t>(size)), 0);
        ASSERT_EQ(read_all("c", out).error().code(), Code::kIntegrity) << size;
    }
}

// Even with a header that is changed to fit the shorter or longer file.
TEST_F(SealedFileTest, LengthInTheHeaderIsBound) {
    const Bytes plaintext = content(3 * kChunkBytes + 100);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    const Bytes good = sealed_bytes("c");
    Bytes out;
    for (const std::uint64_t shorter :
         {3 * kChunkBytes + 99, 3 * kChunkBytes, 2 * kChunkBytes, std::size_t{0}}) {
        Bytes bad = good;
        bad.resize(static_cast<std::size_t>(sealed_file_bytes(shorter)));
        store_le<std::uint64_t>(bad.data() + 48, shorter);
        put("bad", bad);
        EXPECT_EQ(read_all("bad", out).error().code(), Code::kIntegrity);
    }
    for (const std::uint64_t huge : {(1ULL << 46) + 1, 1ULL << 62, ~0ULL}) {
        Bytes bad = good;
        store_le<std::uint64_t>(bad.data() + 48, huge);
        put("bad", bad);
        EXPECT_EQ(read_all("bad", out).error().code(), Code::kIntegrity);
    }
}

TEST_F(SealedFileTest, SwappedChunksAndSplicedFilesAreRefused) {
    const Bytes one = content(3 * kChunkBytes + 100);
    const Bytes two = content(3 * kChunkBytes + 100);
    const SealedHeader header = header_for(one);
    ASSERT_TRUE(seal(files_, path("a"), header, one));
    ASSERT_TRUE(seal(files_, path("b"), header_for(two), two));
    ASSERT_TRUE(seal(files_, path("a2"), header, one));  // same header, same key, another salt
    const Bytes a = sealed_bytes("a");
    const Bytes b = sealed_bytes("b");
    const Bytes a2 = sealed_bytes("a2");
    EXPECT_FALSE(a == a2);
    const auto chunk_at = [](std::size_t chunk) {
        return static_cast<std::ptrdiff_t>(kSealedHeaderBytes + kChunkedPreambleBytes +
                                           chunk * kSealedChunkBytes);
    };
    const auto refused = [&](const Bytes& bytes, const std::string& what) {
        put("bad", bytes);
        Bytes out;
        const Status status = read_all("bad", out);
        EXPECT_FALSE(status) << what;
        if (!status) {
            EXPECT_EQ(status.error().code(), Code::kIntegrity) << what;
        }
        return status ? std::string() : status.error().message();
    };
    Bytes bad = a;
    std::swap_ranges(bad.begin() + chunk_at(1), bad.begin() + chunk_at(2), bad.begin() + chunk_at(2));
    EXPECT_EQ(refused(bad, "chunks 1 and 2 swapped"), "chunk 1 does not authenticate");
    bad = a;
    std::copy(a.begin() + chunk_at(0), a.begin() + chunk_at(1), bad.begin() + chunk_at(1));
    refused(bad, "chunk 0 twice");
    for (const Bytes& other : {b, a2}) {
        bad = a;
        std::copy(other.begin() + chunk_at(1), other.begin() + chunk_at(2), bad.begin() + chunk_at(1));
        refused(bad, "one chunk of another file");
        bad = a;
        std::copy(other.begin() + chunk_at(0), other.end(), bad.begin() + chunk_at(0));
        refused(bad, "all chunks of another file");
    }
    bad = a;
    std::copy(b.begin(), b.begin() + kSealedHeaderBytes, bad.begin());
    refused(bad, "header of another file");
    // The commitment and the last chunk are checked at open; chunks in between when they are read.
    bad = a;
    bad[static_cast<std::size_t>(chunk_at(1)) + 5] ^= 1;
    put("bad", bad);
    const auto reader = SealedReader::open(files_, path("bad"), dek_.view()).value();
    Bytes out(100, 0xee);
    EXPECT_TRUE(reader->read(0, out));
    out.assign(3 * kChunkBytes, 0xee);
    EXPECT_EQ(reader->read(0, out).error().message(), "chunk 1 does not authenticate");
    EXPECT_EQ(out, Bytes(out.size()));  // chunk 0 was authentic, but nothing partial is handed on
}

TEST_F(SealedFileTest, WrongKeyIsRefused) {
    const Bytes plaintext = content(1000);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    const auto other = Secret<32>::from_random(random_);
    EXPECT_EQ(SealedReader::open(files_, path("c"), other.view()).error().code(), Code::kIntegrity);
}

TEST_F(SealedFileTest, WriterRefusesOtherContentAndLeavesNothing) {
    const Bytes plaintext = content(2 * kMerkleLeafBytes + 10);
    const SealedHeader header = header_for(plaintext);
    const auto refused = [&](const SealedHeader& with, ByteSpan bytes) {
        const Status status = seal(files_, path("c"), with, bytes);
        EXPECT_EQ(status.error().code(), Code::kIntegrity);
        EXPECT_EQ(files_.info(path("c")).error().code(), Code::kNotFound);
    };
    Bytes other = plaintext;
    other[kMerkleLeafBytes] ^= 1;
    refused(header, other);
    refused(header, ByteSpan(plaintext).first(plaintext.size() - 1));
    other = plaintext;
    other.push_back(0);
    refused(header, other);
    SealedHeader wrong = header;
    wrong.merkle_root[0] ^= 1;
    refused(wrong, plaintext);
    wrong = header;
    wrong.sha256[31] ^= 1;
    refused(wrong, plaintext);
    wrong = header;
    wrong.plaintext_bytes = kMaxSealedPlaintextBytes + 1;
    EXPECT_EQ(SealedWriter::create(files_, path("c"), wrong, dek_.view(), random_).error().code(),
              Code::kTooLarge);
    // A refused write stays refused.
    const auto writer = SealedWriter::create(files_, path("d"), header, dek_.view(), random_).value();
    EXPECT_FALSE(writer->write(other));
    EXPECT_FALSE(writer->write({}));
    EXPECT_FALSE(writer->finish());
    EXPECT_EQ(SealedWriter::create(files_, path("d"), header, dek_.view(), random_).error().code(),
              Code::kConflict);
}

TEST_F(SealedFileTest, AFaultAtEveryCallLeavesNoWrongContainer) {
    const Bytes plaintext = content(kMerkleLeafBytes + 5000);
    const SealedHeader header = header_for(plaintext);
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            FaultyFiles faulty(files_);
            faulty.fail_at(call, ENOSPC, crash);
            const Status status = seal(faulty, path("c"), header, plaintext);
            EXPECT_EQ(status.has_value(), !faulty.has_failed()) << call;
            if (status) {
                EXPECT_GT(call, 5U);
                break;
            }
            EXPECT_EQ(status.error().code(), Code::kNoSpace);
            if (!crash) {
                EXPECT_FALSE(files_.info(path("c"))) << call;
            }
            // After a crash what is there is refused, or whole.
            Bytes out;
            if (read_all("c", out)) {
                EXPECT_TRUE(out == plaintext);
            }
            std::filesystem::remove(path("c"));
        }
        std::filesystem::remove(path("c"));
    }
}

TEST_F(SealedFileTest, ReadFaultsAreReportedAndZeroTheDestination) {
    const Bytes plaintext = content(6 * kMerkleLeafBytes);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    for (std::uint64_t call = 1;; ++call) {
        FaultyFiles faulty(files_);
        faulty.fail_at(call, EIO, false);
        Bytes out(plaintext.size(), 0xee);
        const auto reader = SealedReader::open(faulty, path("c"), dek_.view());
        if (!reader) {
            EXPECT_EQ(reader.error().code(), Code::kIo);
            continue;
        }
        const Status status = (*reader)->read_parallel(0, out, 2);
        if (!faulty.has_failed()) {
            EXPECT_TRUE(status);
            EXPECT_TRUE(out == plaintext);
            break;
        }
        EXPECT_EQ(status.error().code(), Code::kIo);
        EXPECT_EQ(out, Bytes(out.size()));
    }
}

TEST_F(SealedFileTest, AFileThatChangesWhileOpenIsRefused) {
    const Bytes plaintext = content(1000);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    const auto reader = SealedReader::open(files_, path("c"), dek_.view()).value();
    EXPECT_TRUE(reader->check_unchanged());
    const timespec times[2] = {{1, 0}, {1, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path("c").c_str(), times, 0), 0);
    EXPECT_EQ(reader->check_unchanged().error().code(), Code::kIntegrity);
    Bytes out(1000, 0xee);
    EXPECT_EQ(reader->read_parallel(0, out, 1).error().code(), Code::kIntegrity);
    EXPECT_EQ(out, Bytes(1000));
}

TEST_F(SealedFileTest, LinksAreRefused) {
    const Bytes plaintext = content(10);
    ASSERT_TRUE(seal(files_, path("c"), header_for(plaintext), plaintext));
    ASSERT_EQ(::symlink(path("c").c_str(), path("link").c_str()), 0);
    EXPECT_FALSE(SealedReader::open(files_, path("link"), dek_.view()));
    EXPECT_FALSE(read_sealed_header(files_, path("link")));
}

}  // namespace
}  // namespace ostal::security
