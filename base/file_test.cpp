#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace ostal {
namespace {

class FileTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ostal_file_XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string path(const std::string& name) const { return join_path(folder_, name); }
    std::string content(const std::string& name) {
        return std::string(as_text(read_file(files_, path(name), 1 << 20).value()));
    }
    std::string folder_;
    PosixFiles files_;
};

TEST_F(FileTest, ReplaceFileHoldsOldOrNewUnderAFaultAtEveryCall) {
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            ASSERT_TRUE(replace_file(files_, path("state"), as_bytes("old")));
            FaultyFiles faulty(files_);
            faulty.fail_at(call, ENOSPC, crash);
            const Status status = replace_file(faulty, path("state"), as_bytes("the new content"));
            const std::string now = content("state");
            EXPECT_TRUE(now == "old" || now == "the new content") << "call " << call << ": " << now;
            if (!faulty.has_failed()) {
                ASSERT_TRUE(status);
                EXPECT_EQ(now, "the new content");
                EXPECT_GT(call, 5U);
                break;
            }
        }
    }
}

TEST_F(FileTest, OpenRefusesLinksFoldersAndDuplicates) {
    ASSERT_TRUE(replace_file(files_, path("real"), as_bytes("x")));
    ASSERT_EQ(::symlink(path("real").c_str(), path("link").c_str()), 0);
    EXPECT_EQ(files_.open(path("link"), Files::Open::kRead).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(files_.open(folder_, Files::Open::kRead).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(files_.open(path("real"), Files::Open::kCreate).error().code(), Code::kConflict);
    EXPECT_EQ(files_.open(path("none"), Files::Open::kRead).error().code(), Code::kNotFound);
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    EXPECT_EQ(files_.open(path("fifo"), Files::Open::kRead).error().code(), Code::kInvalidArgument);
}

TEST_F(FileTest, NewFilesAreForTheOwnerAlone) {
    ASSERT_TRUE(replace_file(files_, path("secret"), as_bytes("x")));
    EXPECT_EQ(files_.info(path("secret"))->mode, 0600U);
    ASSERT_TRUE(files_.make_directory(path("d")));
    EXPECT_EQ(files_.info(path("d"))->mode, 0700U);
}

TEST_F(FileTest, ReadFileHasALimit) {
    ASSERT_TRUE(replace_file(files_, path("big"), Bytes(100)));
    EXPECT_EQ(read_file(files_, path("big"), 99).error().code(), Code::kTooLarge);
}

TEST_F(FileTest, RemoveTreeDoesNotFollowLinks) {
    ASSERT_TRUE(make_directories(files_, path("a/b/c")));
    ASSERT_TRUE(replace_file(files_, path("keep"), as_bytes("x")));
    ASSERT_EQ(::symlink(path("keep").c_str(), path("a/b/link").c_str()), 0);
    ASSERT_TRUE(remove_tree(files_, path("a")));
    EXPECT_FALSE(files_.info(path("a")));
    EXPECT_EQ(content("keep"), "x");
    EXPECT_TRUE(remove_tree(files_, path("a")));
}

TEST_F(FileTest, CrashStopsEveryLaterCall) {
    FaultyFiles faulty(files_);
    faulty.fail_at(2, EIO, true);
    EXPECT_TRUE(faulty.make_directory(path("one")));
    EXPECT_FALSE(faulty.make_directory(path("two")));
    EXPECT_FALSE(faulty.make_directory(path("three")));
    EXPECT_FALSE(files_.info(path("three")));
}

}  // namespace
}  // namespace ostal
