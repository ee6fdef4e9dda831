#include "security/signature/manifest.h"

#include <gtest/gtest.h>

#include "security/signature/test_repository.h"

namespace ostal::security {
namespace {

std::string text_of(const Bytes& bytes) { return std::string(as_text(bytes)); }

// A repository's targets file with one piece of text replaced; unsigned content, so it reaches the parser
// only.
Bytes edited(const Bytes& file, std::string_view from, std::string_view to) {
    std::string text = text_of(file);
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    return Bytes(text.begin(), text.end());
}

struct Manifest : ::testing::Test {
    TestRepository repository;
    Bytes root, timestamp, snapshot, targets;
    void SetUp() override {
        repository.all();
        root = repository.files["1.root.json"];
        timestamp = repository.files["timestamp.json"];
        snapshot = repository.files["1.snapshot.json"];
        targets = repository.files["1.targets.json"];
    }
};

TEST_F(Manifest, ReadsWhatTheSignerWrites) {
    const auto parsed_root = parse_root(root);
    ASSERT_TRUE(parsed_root) << parsed_root.error().to_string();
    EXPECT_EQ(parsed_root->keys.size(), 1U);
    EXPECT_EQ(parsed_root->keys_of(MetadataRole::kTargets).threshold, 1U);
    const auto parsed = parse_targets(targets);
    ASSERT_TRUE(parsed) << parsed.error().to_string();
    ASSERT_EQ(parsed->targets.size(), 2U);
    EXPECT_EQ(parsed->targets[0].path.file, "config.json");
    EXPECT_EQ(parsed->targets[0].custom.default_system, "Be \"brief\".\nBe kind.");
    EXPECT_EQ(parsed->metadata.expires_us, TestRepository::kNow + TestRepository::kYear);
    EXPECT_EQ(parse_timestamp(timestamp)->snapshot.length, snapshot.size());
    EXPECT_EQ(parse_snapshot(snapshot)->targets.version, 1U);
    const auto manifests = manifests_of(*parsed);
    ASSERT_EQ(manifests.size(), 1U);
    EXPECT_EQ(manifests[0].total_bytes(), 9U);
    EXPECT_EQ(manifests[0].digest_hex().size(), 64U);
}

TEST_F(Manifest, KeyIdIsTheOneOfSecuresystemslib) {
    // securesystemslib 1.3.0:
    // SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes(range(32)))).keyid
    PublicKeyBytes key{};
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(i);
    EXPECT_EQ(key_id_of(key), "b5b3929e2eb1cd5fb401e8d8dd00a903bfac256d06eae9cc38a51d344e14583f");
}

TEST_F(Manifest, RefusesMalformedEnvelopes) {
    for (const std::string text :
         {"", "{}", "[]", "null", "{\"signed\":{}}", "{\"signatures\":[],\"signed\":[]}",
          "{\"signatures\":{},\"signed\":{\"_type\":\"root\"}}", "{\"signatures\":[],\"signed\":{}} "}) {
        EXPECT_FALSE(parse_root(as_bytes(text))) << text;
    }
    EXPECT_EQ(parse_root(edited(root, "{\"signatures\"", "{\"more\":1,\"signatures\"")).error().reason(),
              "unsupported");
    EXPECT_EQ(parse_root(edited(root, "\"keyid\"", "\"alg\":\"x\",\"keyid\"")).error().reason(),
              "unsupported");
    EXPECT_EQ(parse_targets(root).error().reason(), "malformed");
    Bytes large(kMaxMetadataBytes + 1, ' ');
    EXPECT_EQ(parse_root(large).error().reason(), "too_large");
    const std::string deep =
        std::string(kMaxMetadataDepth + 1, '[') + std::string(kMaxMetadataDepth + 1, ']');
    EXPECT_FALSE(parse_root(edited(root, "\"_type\"", "\"x-deep\":" + deep + ",\"_type\"")));
}

TEST_F(Manifest, RefusesDuplicateSignatures) {
    const std::string text = text_of(root);
    const std::size_t begin = text.find('[') + 1;
    const std::string signature = text.substr(begin, text.find(']') - begin);
    const auto twice = parse_root(edited(root, "[", "[" + signature + ","));
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().reason(), "malformed");
}

TEST_F(Manifest, RefusesUnknownCriticalMembersAndTakesExtensions) {
    for (Bytes* file : {&root, &timestamp, &snapshot, &targets}) {
        const Bytes critical = edited(*file, "\"spec_version\"", "\"delegations\":{},\"spec_version\"");
        const Bytes extension = edited(*file, "\"spec_version\"", "\"x-note\":{},\"spec_version\"");
        const auto parse = [&](const Bytes& bytes) -> Status {
            if (file == &root) OSTAL_TRYV(parse_root(bytes));
            if (file == &timestamp) OSTAL_TRYV(parse_timestamp(bytes));
            if (file == &snapshot) OSTAL_TRYV(parse_snapshot(bytes));
            if (file == &targets) OSTAL_TRYV(parse_targets(bytes));
            return {};
        };
        ASSERT_FALSE(parse(critical));
        EXPECT_EQ(parse(critical).error().reason(), "unsupported");
        EXPECT_TRUE(parse(extension)) << parse(extension).error().to_string();
    }
}

TEST_F(Manifest, RefusesOddValues) {
    const auto root_refused = [&](std::string_view from, std::string_view to) {
        EXPECT_FALSE(parse_root(edited(root, from, to))) << from << " -> " << to;
    };
    root_refused("\"spec_version\":\"1.0.31\"", "\"spec_version\":\"2.0.0\"");
    root_refused("\"spec_version\":\"1.0.31\"", "\"spec_version\":\"1.0.\"");
    root_refused("\"consistent_snapshot\":true", "\"consistent_snapshot\":false");
    root_refused("\"threshold\":1", "\"threshold\":0");
    root_refused("\"threshold\":1", "\"threshold\":2");
    root_refused("\"threshold\":1", "\"threshold\":1.0");
    root_refused("\"threshold\":1", "\"threshold\":true");
    root_refused("\"version\":1", "\"version\":0");
    root_refused("\"version\":1", "\"version\":-1");
    root_refused("\"version\":1", "\"version\":9007199254740992");
    root_refused("\"scheme\":\"ed25519\"", "\"scheme\":\"rsa\"");
    root_refused("\"expires\":\"20", "\"expires\":\"19");
    const auto targets_refused = [&](std::string_view from, std::string_view to) {
        EXPECT_FALSE(parse_targets(edited(targets, from, to))) << from << " -> " << to;
    };
    targets_refused("\"kind\":\"model\"", "\"kind\":\"app\"");
    targets_refused("\"model\":\"demo\"", "\"model\":\"other\"");
    targets_refused("\"format\":\"v3\"", "\"format\":\"v4\"");
    targets_refused("\"format\":\"v3\"", "\"format\":\"v2\"");  // the two files disagree
    targets_refused("\"license\":\"Apache-2.0\"", "\"license\":\"MIT\"");
    targets_refused("\"layout\":\"json\"", "\"layout\":\"text\"");
    targets_refused("\"length\":2", "\"length\":-2");
    targets_refused("models/demo/1/config.json", "models/demo/2/config.json");
    targets_refused("models/demo/1/config.json", "models/demo/01/config.json");
    targets_refused("models/demo/1/config.json", "models/demo/1/../config.json");
    targets_refused("models/demo/1/config.json", "models/demo/1/config.exe");
    targets_refused("models/demo/1/config.json", "models/demo/1/MODEL.SAFETENSORS");
    targets_refused("models/demo/1/config.json", "models/Demo/1/config.json");
    targets_refused("models/demo/1/config.json", "/models/demo/1/config.json");
    targets_refused("\"hashes\":{", "\"hashes\":{\"md5\":\"00\",");
}

TEST_F(Manifest, RefusesFilesThatDifferInCaseAlone) {
    repository.targets.push_back(TestRepository::target("demo", 1, "Config.json", "{ }"));
    repository.publish();
    const auto parsed = parse_targets(repository.files["1.targets.json"]);
    ASSERT_FALSE(parsed);
    EXPECT_NE(parsed.error().to_string().find("case"), std::string::npos);
}

TEST(Names, Rules) {
    EXPECT_TRUE(is_model_name("mixtral-8x7b_v0.1"));
    EXPECT_TRUE(is_model_name(std::string(64, 'a')));
    EXPECT_FALSE(is_model_name(std::string(65, 'a')));
    for (const std::string name : {"", "-a", ".a", "A", "a/b", "a b", "ä"}) {
        EXPECT_FALSE(is_model_name(name)) << name;
    }
    EXPECT_TRUE(is_file_name("model-00001-of-00002.safetensors"));
    for (const std::string name : {"", ".hidden", "a/b", "a\\b", "..", "-x", "a\nb"})
        EXPECT_FALSE(is_file_name(name)) << name;
    EXPECT_EQ(parse_version("1"), 1U);
    EXPECT_EQ(parse_version("9007199254740991"), kMaxVersion);
    for (const std::string text : {"", "0", "01", "+1", "1 ", "9007199254740992", "99999999999999999999"}) {
        EXPECT_FALSE(parse_version(text)) << text;
    }
    EXPECT_EQ(parse_target_path("models/m/3/README.md")->to_string(), "models/m/3/README.md");
    EXPECT_EQ(parse_target_path("models/m/3/a.gguf")->on_medium("00"), "targets/models/m/3/00.a.gguf");
    for (const std::string path :
         {"models/m/3", "models/m/3/", "models//3/a", "models/m/3/a/b", "model/m/3/a"}) {
        EXPECT_FALSE(parse_target_path(path)) << path;
    }
}

TEST(Names, LayoutsAreTheAllowList) {
    EXPECT_EQ(layout_of("model.safetensors"), "safetensors");
    EXPECT_EQ(layout_of("tokenizer.model.v3"), "sentencepiece");
    EXPECT_EQ(layout_of("tokenizer.json"), "json");
    EXPECT_EQ(layout_of("tekken.json"), "tekken");
    EXPECT_EQ(layout_of("LICENSE"), "text");
    EXPECT_EQ(layout_of("README.md"), "text");
    for (const std::string name : {"pytorch_model.bin", "model.pt", "x.zip", "run.sh", "README.html",
                                   "m.llamafile", "a.py", "tokenizer.model.part000"}) {
        EXPECT_EQ(layout_of(name), "") << name;
    }
}

TEST(Utc, ReadsOneFormAndWritesIt) {
    EXPECT_EQ(*parse_utc("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(*parse_utc("2027-01-15T08:00:00Z"), 1'800'000'000'000'000);
    EXPECT_EQ(format_utc(1'800'000'000'000'000), "2027-01-15T08:00:00Z");
    EXPECT_EQ(format_utc(*parse_utc("2028-02-29T23:59:59Z")), "2028-02-29T23:59:59Z");
    for (const std::string text :
         {"2027-02-29T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T00:00:60Z",
          "2027-01-01 00:00:00Z", "2027-01-01T00:00:00+00:00", "2027-01-01T00:00:00",
          "1969-12-31T23:59:59Z"}) {
        EXPECT_FALSE(parse_utc(text)) << text;
    }
}

}  // namespace
}  // namespace ostal::security
