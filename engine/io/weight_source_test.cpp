#include "engine/io/weight_source.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace ostal::engine {
namespace {

class FolderSourceTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string path = ::testing::TempDir() + "ostal_source_XXXXXX";
        ASSERT_NE(::mkdtemp(path.data()), nullptr);
        folder_ = path;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string put(const std::string& name, const std::string& content) {
        const std::string path = folder_ + "/" + name;
        std::ofstream(path, std::ios::binary) << content;
        return path;
    }
    std::string folder_;
};

TEST_F(FolderSourceTest, ListsRegularFilesSortedAndReadsThem) {
    put("b.txt", "bravo");
    put("a.txt", "alpha");
    std::filesystem::create_directory(folder_ + "/sub");
    put("sub/c.txt", "hidden");
    const auto source = FolderSource::open(folder_);
    ASSERT_TRUE(source) << source.error().to_string();
    const auto& files = (*source)->files();
    ASSERT_EQ(files.size(), 2U);
    EXPECT_EQ(files[0].name, "a.txt");
    EXPECT_EQ(files[1].name, "b.txt");
    EXPECT_EQ(files[1].size_bytes, 5U);
    Bytes part(3);
    ASSERT_TRUE((*source)->read("b.txt", 1, part));
    EXPECT_EQ(as_text(part), "rav");
    EXPECT_TRUE((*source)->read("b.txt", 5, MutableByteSpan()));
}

TEST_F(FolderSourceTest, RefusesReadsOutsideAndOtherNames) {
    put("a", "alpha");
    const auto source = FolderSource::open(folder_);
    ASSERT_TRUE(source);
    Bytes part(3);
    EXPECT_EQ((*source)->read("a", 3, part).error().code(), Code::kInvalidArgument);
    EXPECT_EQ((*source)->read("a", UINT64_MAX, part).error().code(), Code::kInvalidArgument);
    EXPECT_EQ((*source)->read("a", UINT64_MAX - 1, part).error().code(), Code::kInvalidArgument);
    for (const char* name : {"b", "../a", "./a", "", "/etc/passwd", "sub/a"}) {
        EXPECT_EQ((*source)->read(name, 0, part).error().code(), Code::kNotFound) << name;
        EXPECT_EQ(source_file_size(**source, name).error().code(), Code::kNotFound) << name;
    }
}

TEST_F(FolderSourceTest, SaysThatAFileBecameShorter) {
    const std::string path = put("a", "alpha and more");
    const auto source = FolderSource::open(folder_);
    ASSERT_TRUE(source);
    ASSERT_EQ(::truncate(path.c_str(), 4), 0);
    Bytes part(8);
    const auto read = (*source)->read("a", 0, part);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), Code::kIo);
}

TEST_F(FolderSourceTest, RefusesSymlinksAndSkipsWhatIsNoFile) {
    put("a", "alpha");
    ASSERT_EQ(::mkfifo((folder_ + "/pipe").c_str(), 0600), 0);
    const auto source = FolderSource::open(folder_);
    ASSERT_TRUE(source);
    EXPECT_EQ((*source)->files().size(), 1U);
    std::filesystem::create_symlink("/etc/passwd", folder_ + "/config.json");
    const auto linked = FolderSource::open(folder_);
    ASSERT_FALSE(linked);
    EXPECT_EQ(linked.error().code(), Code::kInvalidArgument);
    EXPECT_NE(linked.error().message().find("config.json is a symbolic link"), std::string::npos);
}

TEST_F(FolderSourceTest, OpensOneGgufFileAndNothingElse) {
    const std::string path = put("m.gguf", "GGUF");
    put("other", "x");
    const auto source = FolderSource::open(path);
    ASSERT_TRUE(source) << source.error().to_string();
    ASSERT_EQ((*source)->files().size(), 1U);
    EXPECT_EQ((*source)->files()[0].name, "m.gguf");
    EXPECT_EQ(FolderSource::open(folder_ + "/other").error().code(), Code::kInvalidArgument);
    EXPECT_EQ(FolderSource::open(folder_ + "/absent.gguf").error().code(), Code::kNotFound);
    std::filesystem::create_symlink(path, folder_ + "/link.gguf");
    EXPECT_EQ(FolderSource::open(folder_ + "/link.gguf").error().code(), Code::kInvalidArgument);
    // A link to a folder is the operator's own choice of folder.
    const std::string other = folder_ + "_link";
    std::filesystem::create_directory(folder_ + "/sub");
    put("sub/x", "1");
    std::filesystem::create_directory_symlink(folder_ + "/sub", other);
    EXPECT_TRUE(FolderSource::open(other));
    std::filesystem::remove(other);
}

TEST_F(FolderSourceTest, ReadsAWholeFileWithinALimit) {
    put("a", "alpha");
    const auto source = FolderSource::open(folder_);
    ASSERT_TRUE(source);
    const auto whole = read_source_file(**source, "a", 5);
    ASSERT_TRUE(whole);
    EXPECT_EQ(as_text(*whole), "alpha");
    EXPECT_EQ(read_source_file(**source, "a", 4).error().code(), Code::kTooLarge);
    EXPECT_EQ(read_source_file(**source, "b", 4).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace ostal::engine
