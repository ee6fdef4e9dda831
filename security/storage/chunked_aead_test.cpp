// The Wycheproof vectors of C2SP chunked-encryption through ChunkedReader and ChunkedWriter.
#include "security/storage/chunked_aead.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <zlib.h>

#include <filesystem>

#include "base/json.h"

namespace ostal::security {
namespace {

Bytes unpack(const Bytes& packed) {
    Bytes out(8 << 20);
    uLongf length = out.size();
    EXPECT_EQ(::uncompress(out.data(), &length, packed.data(), packed.size()), Z_OK);
    out.resize(length);
    return out;
}

std::string sha512_hex(ByteSpan bytes) {
    std::array<std::uint8_t, 64> out;
    EXPECT_EQ(EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, EVP_sha512(), nullptr), 1);
    return to_hex(out);
}

class ChunkedAeadTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ostal_chunked_XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::unique_ptr<File> new_file(ByteSpan content = {}) {
        auto file =
            files_.open(join_path(folder_, "f" + std::to_string(count_++)), Files::Open::kCreate).value();
        EXPECT_TRUE(file->write(content));
        return file;
    }
    Bytes content_of(File& file) {
        Bytes out(static_cast<std::size_t>(file.size().value()));
        EXPECT_EQ(file.pread(out, 0).value(), out.size());
        return out;
    }
    std::string folder_;
    PosixFiles files_;
    int count_ = 0;
};

TEST_F(ChunkedAeadTest, Wycheproof) {
    const Bytes text =
        read_file(files_, OSTAL_SOURCE_DIR "/tests/vectors/c2sp_chunked_encryption_aes_256_gcm_test.json",
                  1 << 20)
            .value();
    const json::Value root = json::parse(as_text(text)).value();
    int valid = 0;
    int invalid = 0;
    int other_key_sizes = 0;  // our interface takes 32 bytes alone
    for (const json::Value& group : root.find("testGroups")->as_array()) {
        for (const json::Value& test : group.find("tests")->as_array()) {
            SCOPED_TRACE(test.find("comment")->as_string());
            const auto bytes = [&](const char* key) { return from_hex(test.find(key)->as_string()).value(); };
            const Bytes secret = bytes("key");
            const Bytes stream = unpack(bytes("ct"));
            const Bytes context = bytes("ctx");
            const bool good = test.find("result")->as_string() == "valid";
            if (secret.size() != 32) {
                EXPECT_FALSE(good);
                ++other_key_sizes;
                continue;
            }
            const KeyView key(secret.data(), 32);
            if (const json::Value* expected = test.find("aeadKey")) {
                ChunkedSalt salt;
                std::copy_n(stream.data(), salt.size(), salt.data());
                const ChunkedKeys keys = derive_chunked_keys(key, salt, context);
                EXPECT_EQ(to_hex(keys.key.bytes()), expected->as_string());
                EXPECT_EQ(to_hex(keys.base_nonce), test.find("baseNonce")->as_string());
            }
            const auto file = new_file(stream);
            const auto reader = ChunkedReader::open(*file, 0, stream.size(), key, context);
            if (!good) {
                ++invalid;
                Bytes out(reader ? static_cast<std::size_t>(reader->plaintext_bytes()) : 0, 0xaa);
                const Status status = reader ? reader->read(0, out) : Status(fail(reader.error()));
                ASSERT_FALSE(status);
                EXPECT_EQ(status.error().code(), Code::kIntegrity);
                EXPECT_EQ(out, Bytes(out.size()));
                continue;
            }
            ++valid;
            ASSERT_TRUE(reader) << reader.error().to_string();
            Bytes plaintext(static_cast<std::size_t>(test.find("msgLength")->to_int64().value()));
            ASSERT_EQ(reader->plaintext_bytes(), plaintext.size());
            ASSERT_TRUE(reader->read_parallel(0, plaintext, 2));
            EXPECT_EQ(sha512_hex(plaintext), test.find("msgSha512")->as_string());

            // And back: the writer makes the same bytes from the same salt.
            ChunkedSalt salt;
            std::copy_n(stream.data(), salt.size(), salt.data());
            const auto again = new_file();
            ChunkedWriter writer(*again, key, salt, context);
            ASSERT_TRUE(writer.start());
            ASSERT_TRUE(writer.write(plaintext));
            ASSERT_TRUE(writer.finish());
            EXPECT_TRUE(content_of(*again) == stream);
        }
    }
    EXPECT_EQ(valid, 10);
    EXPECT_EQ(invalid, 23);
    EXPECT_EQ(other_key_sizes, 2);
    EXPECT_EQ(valid + invalid + other_key_sizes, root.find("numberOfTests")->to_int64().value());
}

TEST_F(ChunkedAeadTest, SizesAreInverse) {
    for (const std::uint64_t plaintext : {0ULL, 1ULL, 16383ULL, 16384ULL, 16385ULL, 32768ULL, (1ULL << 46)}) {
        EXPECT_EQ(chunked_plaintext_bytes(chunked_stream_bytes(plaintext)).value(), plaintext);
    }
    EXPECT_EQ(chunked_stream_bytes(0), 72U);
    for (std::uint64_t size = 0; size < 72; ++size) EXPECT_FALSE(chunked_plaintext_bytes(size));
    EXPECT_FALSE(chunked_plaintext_bytes(56 + 16400));       // no last chunk
    EXPECT_FALSE(chunked_plaintext_bytes(56 + 16400 + 15));  // not even a tag
    EXPECT_FALSE(chunked_plaintext_bytes(UINT64_MAX));
}

}  // namespace
}  // namespace ostal::security
