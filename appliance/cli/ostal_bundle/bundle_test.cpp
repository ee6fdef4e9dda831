// The tool as a user runs it: words in, exit code and text out.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "appliance/cli/ostal_bundle/commands.h"
#include "appliance/cli/ostal_bundle/instruct_format.h"
#include "base/json.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::bundle {
namespace {

namespace fs = std::filesystem;

struct Outcome {
    int code = 0;
    std::string out;
    std::string err;
    json::Value object() const { return *json::parse(out); }
};

struct BundleTool : ::testing::Test {
    PosixFiles files;
    ManualClock clock{1'800'000'000'000'000};
    SeededRandom random{11};
    std::string folder = ::testing::TempDir() + "bundle-XXXXXX";

    void SetUp() override {
        ASSERT_NE(::mkdtemp(folder.data()), nullptr);
        fs::create_directory(at("model"));
        test::TinyModel::write(test::TinyModel({}).folder(), at("model"));
        ASSERT_EQ(run({"keygen", "--out", at("a.pem")}).code, 0);
        ASSERT_EQ(run({"keygen", "--out", at("b.pem")}).code, 0);
        ASSERT_EQ(run({"root", "--key", at("a.pem"), "--out", at("a.root.json")}).code, 0);
    }
    void TearDown() override { fs::remove_all(folder); }

    std::string at(const std::string& name) const { return folder + "/" + name; }
    Outcome run(std::vector<std::string> words) {
        std::ostringstream out, err;
        Outcome outcome;
        outcome.code = run_command(words, {files, clock, random}, {out, err});
        outcome.out = out.str();
        outcome.err = err.str();
        return outcome;
    }
    std::vector<std::string> create_words(const std::string& version = "1") const {
        return {"create",    "--model", at("model"),       "--name", "tiny",
                "--version", version,   "--format",        "v3",     "--key",
                at("a.pem"), "--root",  at("a.root.json"), "--out",  at("medium")};
    }
    Outcome create(const std::string& version = "1", const std::vector<std::string>& more = {}) {
        std::vector<std::string> words = create_words(version);
        words.insert(words.end(), more.begin(), more.end());
        return run(words);
    }
    Outcome verify(const std::string& trust = "a.root.json") {
        return run({"verify", at("medium"), "--trust", at(trust), "-o", "json"});
    }
    void put(const std::string& name, std::string_view content) {
        ASSERT_TRUE(replace_file(files, at(name), as_bytes(content)));
    }
    std::vector<std::string> medium_files() const {
        std::vector<std::string> out;
        for (const auto& entry : fs::recursive_directory_iterator(at("medium"))) {
            if (entry.is_regular_file()) out.push_back(entry.path());
        }
        std::sort(out.begin(), out.end());
        return out;
    }
};

TEST_F(BundleTool, CreatesWhatItVerifies) {
    const Outcome made = create("1", {"--license", "MIT", "-o", "json"});
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(made.object().find("format")->as_string(), "v3");
    EXPECT_TRUE(made.object().find("complete")->as_bool());
    const Outcome good = verify();
    ASSERT_EQ(good.code, 0) << good.err;
    EXPECT_EQ(good.object().find("verified_files")->as_array().size(), 1U);
    const Outcome shown = run({"inspect", at("medium"), "-o", "json"});
    EXPECT_EQ(shown.code, 0);
    EXPECT_EQ(shown.object().find("versions")->as_array()[0].find("license")->as_string(), "MIT");
    EXPECT_NE(run({"inspect", at("medium")}).out.find("tiny version 1"), std::string::npos);
}

TEST_F(BundleTool, KeyFilesAreForTheirOwnerAlone) {
    EXPECT_EQ(files.info(at("a.pem"))->mode, 0600U);
    EXPECT_EQ(files.info(at("a.root.json"))->mode, 0644U);
    EXPECT_EQ(run({"keygen", "--out", at("a.pem")}).code, 1) << "never overwritten";
    fs::permissions(at("a.pem"), fs::perms::group_read, fs::perm_options::add);
    EXPECT_EQ(create().code, 1);
}

TEST_F(BundleTool, EncryptedKeys) {
    put("pass", "correct horse\n");
    put("wrong", "battery\n");
    ASSERT_EQ(run({"keygen", "--out", at("c.pem"), "--passphrase-file", at("pass")}).code, 0);
    EXPECT_EQ(run({"root", "--key", at("c.pem"), "--out", at("c.root.json")}).code, 1);
    EXPECT_EQ(
        run({"root", "--key", at("c.pem"), "--out", at("c.root.json"), "--passphrase-file", at("wrong")})
            .code,
        1);
    EXPECT_EQ(
        run({"root", "--key", at("c.pem"), "--out", at("c.root.json"), "--passphrase-file", at("pass")}).code,
        0);
}

TEST_F(BundleTool, UsageErrors) {
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {},
             {"bake"},
             {"create"},
             {"create", "--key"},
             {"create", "--colour", "red"},
             {"verify"},
             {"verify", at("medium")},
             {"sign", at("medium")},
             {"inspect"},
             {"inspect", "a", "b"},
             {"keygen", "--out", "x", "--out", "y"},
             {"keygen", "--out", "x", "-o", "yaml"},
             {"root", "--key", at("a.pem"), "--out", at("r"), "--role", "king=a"},
             {"root", "--key", at("a.pem"), "--out", at("r"), "--threshold", "root"},
             {"root", "--key", at("a.pem"), "--out", at("r"), "--expires", "tomorrow"}}) {
        const Outcome outcome = run(words);
        EXPECT_EQ(outcome.code, 2) << (words.empty() ? "" : words[0]) << ": " << outcome.err;
    }
    EXPECT_EQ(run({"--help"}).code, 0);
    EXPECT_EQ(run({"inspect", at("absent")}).code, 7) << "no root";
}

TEST_F(BundleTool, EveryAlteredByteIsRefused) {
    ASSERT_EQ(create().code, 0);
    for (const std::string& path : medium_files()) {
        Bytes content = *read_file(files, path, 1U << 30);
        const std::size_t step = std::max<std::size_t>(1, content.size() / 16);
        for (std::size_t i = 0; i < content.size(); i += step) {
            content[i] ^= 0x10;
            ASSERT_TRUE(replace_file(files, path, content));
            ASSERT_EQ(verify().code, 7) << path << " byte " << i;
            content[i] ^= 0x10;
        }
        ASSERT_TRUE(replace_file(files, path, content));
    }
    EXPECT_EQ(verify().code, 0);
}

TEST_F(BundleTool, ExtraMissingRenamedAndLinkedFilesAreRefused) {
    ASSERT_EQ(create().code, 0);
    const std::vector<std::string> names = medium_files();
    for (const std::string& path : names) {
        const std::string aside = at("aside");
        fs::rename(path, aside);
        EXPECT_EQ(verify().code, 7) << "missing " << path;
        fs::rename(aside, path + "x");
        EXPECT_EQ(verify().code, 7) << "renamed " << path;
        fs::rename(path + "x", aside);
        fs::create_symlink(aside, path);
        EXPECT_EQ(verify().code, 7) << "symbolic link " << path;
        fs::remove(path);
        fs::create_hard_link(aside, path);
        EXPECT_EQ(verify().code, 7) << "hard link " << path;
        fs::remove(path);
        fs::rename(aside, path);
    }
    for (const std::string name :
         {"extra", "metadata/extra.json", "targets/models/tiny/1/extra", ".hidden"}) {
        put("medium/" + name, "{}");
        EXPECT_EQ(verify().code, 7) << name;
        fs::remove(at("medium/" + name));
    }
    fs::create_directories(at("medium/targets/models/tiny/1/more/x"));
    put("medium/targets/models/tiny/1/more/x/y", "");
    EXPECT_EQ(verify().code, 7);
    fs::remove_all(at("medium/targets/models/tiny/1/more"));
    EXPECT_EQ(verify().code, 0);
}

TEST_F(BundleTool, SwappedTargetsAreRefused) {
    ASSERT_EQ(create().code, 0);
    std::vector<std::string> targets;
    for (const std::string& path : medium_files()) {
        if (path.find("/targets/") != std::string::npos) targets.push_back(path);
    }
    ASSERT_GE(targets.size(), 3U);
    fs::rename(targets[0], at("aside"));
    fs::rename(targets[1], targets[0]);
    fs::rename(at("aside"), targets[1]);
    EXPECT_EQ(verify().code, 7);
}

TEST_F(BundleTool, AnUnknownSignerIsNamedBesideTheTrusted) {
    ASSERT_EQ(create().code, 0);
    const Outcome other = run({"root", "--key", at("b.pem"), "--out", at("b.root.json"), "-o", "json"});
    ASSERT_EQ(other.code, 0);
    const std::string trusted =
        other.object().find("roles")->find("root")->find("fingerprints")->as_array()[0].as_string();
    const Outcome refused = verify("b.root.json");
    EXPECT_EQ(refused.code, 7);
    EXPECT_EQ(refused.object().find("error")->find("reason")->as_string(), "unknown_key");
    EXPECT_NE(refused.err.find(trusted), std::string::npos) << refused.err;
}

TEST_F(BundleTool, ExpiredMetadataIsRefused) {
    ASSERT_EQ(create("1", {"--expires", "2027-02-01T00:00:00Z"}).code, 0);
    EXPECT_EQ(verify().code, 0);
    clock.set_wall_us(1'801'500'000'000'000);
    const Outcome expired = verify();
    EXPECT_EQ(expired.code, 7);
    EXPECT_EQ(expired.object().find("error")->find("reason")->as_string(), "expired");
}

TEST_F(BundleTool, LargeTargetsLieInPieces) {
    ASSERT_EQ(create("1", {"--part-bytes", "10000"}).code, 0);
    std::string second;
    for (const std::string& path : medium_files()) {
        if (path.ends_with("model.safetensors.part001")) second = path;
    }
    ASSERT_FALSE(second.empty());
    EXPECT_EQ(verify().code, 0);
    fs::rename(second, at("aside"));
    EXPECT_EQ(verify().code, 7);
    fs::copy_file(at("aside"), second);
    EXPECT_EQ(verify().code, 0);
    fs::copy_file(second, second.substr(0, second.size() - 3) + "999");
    EXPECT_EQ(verify().code, 7) << "a number is left out";
}

TEST_F(BundleTool, SeveralVersionsAndModels) {
    ASSERT_EQ(create("1").code, 0);
    EXPECT_EQ(create("1").code, 1) << "there already";
    ASSERT_EQ(create("2").code, 0);
    std::vector<std::string> other = create_words();
    other[4] = "other";
    ASSERT_EQ(run(other).code, 0);
    const Outcome good = verify();
    ASSERT_EQ(good.code, 0) << good.err;
    EXPECT_EQ(good.object().find("verified_files")->as_array().size(), 3U);
    // The files of one version may stay away, all of them.
    fs::remove_all(at("medium/targets/models/tiny/1"));
    EXPECT_EQ(verify().object().find("verified_files")->as_array().size(), 2U);
}

TEST_F(BundleTool, TwoOfTwoSignatures) {
    ASSERT_EQ(run({"root", "--key", at("a.pem"), "--role", "targets=" + at("a.pem") + "," + at("b.pem"),
                   "--threshold", "targets=2", "--out", at("two.root.json")})
                  .code,
              0);
    std::vector<std::string> words = create_words();
    std::replace(words.begin(), words.end(), at("a.root.json"), at("two.root.json"));
    ASSERT_EQ(run(words).code, 0);
    const Outcome one = verify("two.root.json");
    EXPECT_EQ(one.code, 7);
    EXPECT_EQ(one.object().find("error")->find("reason")->as_string(), "below_threshold");
    ASSERT_EQ(run({"sign", at("medium"), "--key", at("a.pem")}).code, 0);
    EXPECT_EQ(verify("two.root.json").code, 7) << "the same key again";
    ASSERT_EQ(run({"sign", at("medium"), "--key", at("b.pem")}).code, 0);
    const Outcome last = run({"sign", at("medium"), "--key", at("a.pem"), "-o", "json"});
    EXPECT_TRUE(last.object().find("complete")->as_bool()) << last.out;
    EXPECT_EQ(verify("two.root.json").code, 0);
}

TEST_F(BundleTool, RootRotation) {
    ASSERT_EQ(create("1").code, 0);
    const Outcome alone = run({"root", "--previous", at("a.root.json"), "--role", "all=" + at("b.pem"),
                               "--key", at("b.pem"), "--out", at("2.root.json"), "-o", "json"});
    ASSERT_EQ(alone.code, 0);
    EXPECT_FALSE(alone.object().find("complete")->as_bool()) << "the old key must agree";
    std::vector<std::string> words = create_words("2");
    words[10] = at("b.pem");
    words.insert(words.end(), {"--root", at("2.root.json")});
    EXPECT_EQ(run(words).code, 7);
    ASSERT_EQ(run({"sign", at("2.root.json"), "--key", at("a.pem")}).code, 0);
    const Outcome made = run(words);
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(verify().code, 0) << "from the old root";
    EXPECT_EQ(verify("2.root.json").code, 0) << "and from the new one";
}

TEST_F(BundleTool, TheSameKeysMakeTheSameFirstRoot) {
    std::vector<std::string> words = create_words();
    words.erase(words.begin() + 11, words.begin() + 13);
    clock.advance_us(86'400'000'000);
    ASSERT_EQ(run(words).code, 0);
    EXPECT_EQ(verify().code, 0);
}

TEST_F(BundleTool, RefusesFilesThatModelsDoNotHave) {
    for (const std::string name : {"pytorch_model.bin", "run.py", "model.pt", "weights.zip", "Config.JSON"}) {
        put("model/" + name, "x");
        const Outcome refused = create();
        EXPECT_EQ(refused.code, 1) << name;
        EXPECT_NE(refused.err.find(name), std::string::npos) << refused.err;
        fs::remove(at("model/" + name));
    }
    using namespace std::string_view_literals;
    for (const std::string_view magic : {"\x80\x04pickle"sv, "PK\x03\x04zip"sv,
                                         "\x7f"
                                         "ELF"sv,
                                         "#!/bin/sh\n"sv}) {
        put("model/vocab.txt", magic);
        EXPECT_EQ(create().code, 1);
    }
    put("model/vocab.txt", "plain");
    put("model/.gitattributes", "x");
    const Outcome made = create();
    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_NE(made.err.find("left out .gitattributes"), std::string::npos);
    EXPECT_EQ(verify().code, 0);
}

TEST_F(BundleTool, RefusesAModelTheEngineCannotRead) {
    put("model/config.json", "{\"model_type\": \"gpt2\"}");
    const Outcome refused = create("1", {"-o", "json"});
    EXPECT_EQ(refused.code, 1);
    EXPECT_EQ(refused.object().find("error")->find("reason")->as_string(), "unreadable_model");
    EXPECT_FALSE(fs::exists(at("medium"))) << "nothing is left behind";
}

TEST_F(BundleTool, FormatComesFromAKnownTemplateOrIsAskedFor) {
    std::vector<std::string> words = create_words();
    words.erase(words.begin() + 7, words.begin() + 9);
    const Outcome none = run(words);
    EXPECT_EQ(none.code, 1);
    EXPECT_NE(none.err.find("--format"), std::string::npos) << none.err;
    put("model/tokenizer_config.json", "{\"chat_template\": \"{{ messages }}\"}");
    const Outcome unknown = run(words);
    EXPECT_EQ(unknown.code, 1);
    EXPECT_NE(unknown.err.find("is not known"), std::string::npos) << unknown.err;
    EXPECT_EQ(create("1", {"--format", "v3"}).code, 2) << "given twice";
    std::vector<std::string> wrong = create_words();
    wrong[8] = "v4";
    EXPECT_EQ(run(wrong).code, 1);
}

TEST(InstructFormat, FindsTheTemplateWhereModelsKeepIt) {
    test::MemorySource source;
    EXPECT_FALSE(*template_of(source));
    const auto set = [&](std::string_view text) {
        source.set("tokenizer_config.json", Bytes(text.begin(), text.end()));
    };
    set(R"({"chat_template": "one"})");
    EXPECT_EQ(*template_of(source), "one");
    set(R"({"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "two"}]})");
    EXPECT_EQ(*template_of(source), "two");
    set(R"({"bos_token": "<s>"})");
    EXPECT_FALSE(*template_of(source));
    set("{");
    EXPECT_FALSE(template_of(source));
    test::GgufBuilder builder;
    builder.add_text("tokenizer.chat_template", "three");
    test::MemorySource gguf({{"model.gguf", builder.build()}});
    EXPECT_EQ(*template_of(gguf), "three");
}

TEST_F(BundleTool, AGgufFileIsAModel) {
    const std::string path = at("tiny-q8.gguf");
    const test::MemorySource source = test::TinyModel({}).gguf(engine::DType::kF16);
    Bytes content(source.files()[0].size_bytes);
    ASSERT_TRUE(source.read("model.gguf", 0, content));
    ASSERT_TRUE(replace_file(files, path, content));
    std::vector<std::string> words = create_words();
    words[2] = path;
    const Outcome made = run(words);
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(verify().code, 0);
    words[2] = at("a.root.json");
    words[6] = "2";
    EXPECT_EQ(run(words).code, 1) << "neither a folder nor .gguf";
}

// Every failing call: an error, and the medium is the old one, or visibly unfinished, never a wrong one.
TEST_F(BundleTool, FailingCallsNeverMakeAWrongMedium) {
    ASSERT_EQ(create("1").code, 0);
    for (std::uint64_t call = 1;; call += 3) {
        FaultyFiles faulty(files);
        faulty.fail_at(call, ENOSPC, true);
        std::ostringstream out, err;
        const int code = run_command(create_words("2"), {faulty, clock, random}, {out, err});
        if (!faulty.has_failed()) {
            EXPECT_EQ(code, 0);
            break;
        }
        const Outcome state = verify();
        EXPECT_TRUE(state.code == 0 || state.code == 7) << call << state.err;
        // The same command again finishes or says why not; the first version is never lost.
        fs::remove_all(at("medium"));
        ASSERT_EQ(create("1").code, 0);
    }
    EXPECT_EQ(verify().object().find("verified_files")->as_array().size(), 2U);
}

}  // namespace
}  // namespace ostal::bundle
