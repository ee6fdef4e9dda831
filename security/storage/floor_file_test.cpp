#include "security/storage/floor_file.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace ostal::security {
namespace {

class FloorFileTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ostal_floor_XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        path_ = join_path(folder_, "floor");
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string folder_;
    std::string path_;
    PosixFiles files_;
    SeededRandom random_{21};
    const Secret<32> key_ = Secret<32>::from_random(random_);
    const Floors floors_{
        {"model/mixtral-8x7b", {7, 6}}, {"model/mini", {1, std::nullopt}}, {"role/site/root", {3, 0}}};
};

TEST_F(FloorFileTest, RoundTrip) {
    EXPECT_EQ(read_floor_file(files_, path_, key_.view()).error().code(), Code::kNotFound);
    ASSERT_TRUE(write_floor_file(files_, path_, key_.view(), {}));
    EXPECT_TRUE(read_floor_file(files_, path_, key_.view())->empty());
    ASSERT_TRUE(write_floor_file(files_, path_, key_.view(), floors_));
    EXPECT_EQ(read_floor_file(files_, path_, key_.view()).value(), floors_);
}

TEST_F(FloorFileTest, EveryAlteredByteLengthAndKeyIsRefused) {
    ASSERT_TRUE(write_floor_file(files_, path_, key_.view(), floors_));
    const Bytes good = read_file(files_, path_, 1 << 16).value();
    const auto refused = [&](const Bytes& bytes) {
        std::ofstream(path_, std::ios::binary) << as_text(bytes);
        EXPECT_EQ(read_floor_file(files_, path_, key_.view()).error().code(), Code::kIntegrity);
    };
    for (std::size_t i = 0; i < good.size(); ++i) {
        Bytes bad = good;
        bad[i] ^= static_cast<std::uint8_t>(1U << (i % 8));
        refused(bad);
        refused(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i)));
    }
    Bytes longer = good;
    longer.push_back(0);
    refused(longer);
    ASSERT_TRUE(replace_file(files_, path_, good));
    EXPECT_FALSE(read_floor_file(files_, path_, Secret<32>::from_random(random_).view()));
}

TEST_F(FloorFileTest, OldOrNewUnderAFaultAtEveryCall) {
    const Floors next{{"model/mini", {2, 1}}};
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            ASSERT_TRUE(write_floor_file(files_, path_, key_.view(), floors_));
            FaultyFiles faulty(files_);
            faulty.fail_at(call, ENOSPC, crash);
            const Status status = write_floor_file(faulty, path_, key_.view(), next);
            const auto now = read_floor_file(files_, path_, key_.view());
            ASSERT_TRUE(now);
            EXPECT_TRUE(*now == floors_ || *now == next) << call;
            if (!faulty.has_failed()) {
                EXPECT_TRUE(status);
                EXPECT_EQ(*now, next);
                break;
            }
        }
    }
}

}  // namespace
}  // namespace ostal::security
