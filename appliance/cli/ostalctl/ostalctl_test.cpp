#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "appliance/cli/ostalctl/arguments.h"
#include "appliance/cli/ostalctl/medium.h"
#include "appliance/cli/ostalctl/output.h"

namespace ostal::ctl {
namespace {

TEST(Arguments, OptionsAnywhereValuesBothWays) {
    const auto parsed = parse_arguments({"key", "--model=a", "create", "--model", "b", "--single", "name", "--", "-x"},
                                        {"--single"}, {"--model"});
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->words, (std::vector<std::string>{"key", "create", "name", "-x"}));
    EXPECT_EQ(parsed->values("--model"), (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(parsed->has("--single"));
}

TEST(Arguments, MistakesAreUsageErrors) {
    EXPECT_EQ(parse_arguments({"--what"}, {}, {}).error().code(), Code::kUsage);
    EXPECT_EQ(parse_arguments({"--model"}, {}, {"--model"}).error().code(), Code::kUsage);
    EXPECT_EQ(parse_arguments({"--single=1"}, {"--single"}, {}).error().code(), Code::kUsage);
}

TEST(Output, TablesAlignAndNeverDriveTheTerminal) {
    json::Array rows;
    rows.emplace_back(json::Object{{"name", "é"}, {"note", "a\x1b[2Jb"}, {"on", true}});
    rows.emplace_back(json::Object{{"name", "longer"}, {"on", false}});
    EXPECT_EQ(table(rows, {"name", "note", "on"}), "NAME    NOTE         ON\né       a\\u001b[2Jb  yes\nlonger  -            no\n");
}

TEST(Medium, OnlyRegularFilesAndNoLinks) {
    std::string folder = testing::TempDir() + "ostal_medium_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    std::filesystem::create_directories(folder + "/metadata");
    std::ofstream(folder + "/metadata/1.root.json") << "{}";
    const auto opened = open_medium(folder);
    ASSERT_TRUE(opened);
    ASSERT_EQ(opened->size(), 1U);
    EXPECT_EQ(opened->front().path, "metadata/1.root.json");
    std::filesystem::create_symlink("/etc/passwd", folder + "/metadata/2.root.json");
    EXPECT_EQ(open_medium(folder).error().code(), Code::kInvalidArgument);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ostal::ctl
