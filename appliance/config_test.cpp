#include "appliance/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace ostal {
namespace {

Result<LoadedConfig> parse(const std::string& text) { return parse_config({{"ostal.toml", text}}); }

TEST(Config, DefaultsWithoutAnyKey) {
    const auto loaded = parse("");
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->config.listeners.at(0).port, 8443);
    EXPECT_EQ(loaded->config.engine.max_sequences, 64);
    for (const ConfigKey& key : loaded->keys) EXPECT_EQ(key.origin, "default") << key.name;
}

TEST(Config, FilesOfConfDWinInTheOrderOfTheirNames) {
    const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "ostal_config_test";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    const std::string file = folder / "ostal.toml";
    EXPECT_EQ(load_config(file).error().code(), Code::kNotFound);

    std::ofstream(file) << "[engine]\nthreads = 1\nmax_queue = 5\n";
    auto loaded = load_config(file);
    ASSERT_TRUE(loaded) << loaded.error().message();  // no conf.d is none
    EXPECT_EQ(loaded->config.engine.threads, 1);

    std::filesystem::create_directories(folder / "conf.d");
    std::ofstream(folder / "conf.d" / "20-more.toml") << "[engine]\nthreads = 3\n";
    std::ofstream(folder / "conf.d" / "10-some.toml") << "[engine]\nthreads = 2\nmax_sequences = 7\n";
    std::ofstream(folder / "conf.d" / "30-notes.txt") << "not TOML";
    loaded = load_config(file);
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ(loaded->config.engine.threads, 3);
    EXPECT_EQ(loaded->config.engine.max_sequences, 7);
    EXPECT_EQ(loaded->config.engine.max_queue, 5);

    std::ofstream(folder / "conf.d" / "40-bad.toml") << "[engine]\nthread = 3\n";
    const auto bad = load_config(file);
    ASSERT_FALSE(bad);
    EXPECT_NE(bad.error().message().find("40-bad.toml:2"), std::string::npos) << bad.error().message();
    std::filesystem::remove_all(folder);
}

TEST(Config, TheSchemaIsAValidFileWithTheDefaults) {
    const auto loaded = parse(config_schema());
    ASSERT_TRUE(loaded) << loaded.error().message();
    const auto defaults = parse("");
    for (std::size_t i = 0; i < loaded->keys.size(); ++i) {
        EXPECT_EQ(loaded->keys[i].value, defaults->keys[i].value) << loaded->keys[i].name;
    }
}

TEST(Config, AllProblemsAtOnceWithFileLineAndNearestKey) {
    const auto loaded = parse("[engine]\nthread = 2\nthreads = \"two\"\nisa = \"sse9\"\n[servers]\nx = 1\n");
    ASSERT_FALSE(loaded);
    const std::string text = loaded.error().message();
    EXPECT_NE(text.find("ostal.toml:2: unknown key engine.thread; did you mean engine.threads?"), std::string::npos);
    EXPECT_NE(text.find("ostal.toml:3: engine.threads: expected an integer"), std::string::npos);
    EXPECT_NE(text.find("ostal.toml:4: engine.isa: expected one of"), std::string::npos);
    EXPECT_NE(text.find("ostal.toml:5: unknown key servers"), std::string::npos);
}

TEST(Config, SyntaxErrorsNameTheLine) {
    const auto loaded = parse("[engine]\nthreads = \n");
    ASSERT_FALSE(loaded);
    EXPECT_TRUE(loaded.error().message().starts_with("ostal.toml:2")) << loaded.error().message();
}

TEST(Config, LaterFilesWinKeyByKey) {
    const auto loaded = parse_config({{"a.toml", "[engine]\nthreads = 1\nmax_queue = 7\n"},
                                      {"b.toml", "[engine]\nthreads = 3\n"}});
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->config.engine.threads, 3);
    EXPECT_EQ(loaded->config.engine.max_queue, 7);
    for (const ConfigKey& key : loaded->keys) {
        if (key.name == "engine.threads") {
            EXPECT_EQ(key.origin, "b.toml:2");
        }
    }
}

TEST(Config, RangesAreChecked) {
    EXPECT_FALSE(parse("[engine]\nthreads = -1"));
    EXPECT_FALSE(parse("[engine]\nthreads = 99999999999999999999"));
    EXPECT_FALSE(parse("[engine]\npin_threads = 1"));
    EXPECT_FALSE(parse("[server]\nhosts = []"));
    EXPECT_FALSE(parse("[server]\nhosts = [1]"));
    EXPECT_FALSE(parse("engine = 3"));
}

TEST(Config, Listeners) {
    const auto loaded = parse("[[listener]]\nport = 443\n[[listener]]\naddress = \"::1\"\nserves = [\"admin\"]\n");
    ASSERT_TRUE(loaded);
    ASSERT_EQ(loaded->config.listeners.size(), 2U);
    EXPECT_EQ(loaded->config.listeners[0].port, 443);
    EXPECT_EQ(loaded->config.listeners[1].serves, std::vector<std::string>{"admin"});
    EXPECT_FALSE(parse("[[listener]]\nport = 70000\n"));
    EXPECT_FALSE(parse("[[listener]]\nserves = [\"ftp\"]\n"));
    EXPECT_FALSE(parse("[[listener]]\nprot = 1\n"));
    EXPECT_FALSE(parse("listener = 1\n"));
}

}  // namespace
}  // namespace ostal
