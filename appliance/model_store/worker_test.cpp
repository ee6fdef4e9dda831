// The verify jobs where they run: in a confined worker forked by the zygote, on descriptors alone.
#include "appliance/model_store/store_fixture.h"
#include "security/sandbox/zygote.h"

namespace ostal {
namespace {

struct WorkerTest : ModelStoreTest {
    static security::Zygote start() {
        prepare_verify_jobs();
        return security::Zygote::start(run_verify_job).value();
    }
    security::Zygote zygote = start();

    ImportOptions options() {
        ImportOptions out;
        out.runner = [this](const std::string& request, std::span<const int> descriptors) {
            return zygote.run(request, descriptors, 60'000'000);
        };
        return out;
    }
};

TEST_F(WorkerTest, ImportsThroughAConfinedWorker) {
    const auto report = site.import(vendor.sign("medium", "demo", 1), options());
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(site.state("demo", 1), VersionState::kVerified);
}

TEST_F(WorkerTest, RefusalsCrossTheSocketWithCodeAndReason) {
    Vendor stranger(files, clock, folder, "stranger");
    expect_refused(site.import(stranger.sign("medium", "demo", 1), options()), Code::kIntegrity,
                   "unknown_key");
    clock.advance_us(400 * 86'400'000'000LL);
    expect_refused(site.import(folder.at("medium"), options()), Code::kIntegrity, "unknown_key");
}

TEST(VerifyJobs, AnswerEveryRequest) {
    for (const std::string request :
         {"", "{}", "[]", R"({"job":"bake","files":[]})", R"({"job":"metadata","files":["a"]})",
          R"({"job":"metadata","files":[],"now_us":0,"anchors":[{}]})", R"({"job":"model","files":[]})"}) {
        const auto answer = json::parse(run_verify_job(request, {}));
        ASSERT_TRUE(answer) << request;
        EXPECT_NE(answer->find("error"), nullptr) << request;
    }
}

TEST(VerifyJobs, ABundleReadsBack) {
    const VerifiedBundle bundle{"vendor", 3, {{"demo", 7, std::string(64, 'a'), 5, 1'000'000}}};
    const auto read = bundle_from_json(to_json(bundle));
    ASSERT_TRUE(read);
    EXPECT_EQ(json::to_string(to_json(*read)), json::to_string(to_json(bundle)));
    EXPECT_FALSE(bundle_from_json(json::Object{{"anchor", "x"}}));
}

TEST(FileKind, KnowsWhatAModelIsMadeOf) {
    using namespace std::string_view_literals;
    EXPECT_TRUE(check_file_kind("model.safetensors", as_bytes("\x10\0\0\0\0\0\0\0{\"a\":1}"sv)));
    EXPECT_TRUE(check_file_kind("model.gguf", as_bytes("GGUF\x03")));
    EXPECT_TRUE(check_file_kind("config.json", as_bytes("\n {}")));
    EXPECT_TRUE(check_file_kind("tokenizer.model", as_bytes("\x0a\x0e")));
    EXPECT_TRUE(check_file_kind("LICENSE", as_bytes("free")));
    EXPECT_TRUE(check_file_kind("notes.txt", {}));
    for (const auto& [name, head] :
         {std::pair{"model.safetensors"sv, ""sv}, std::pair{"model.gguf"sv, "GGML"sv},
          std::pair{"config.json"sv, ""sv}, std::pair{"config.json"sv, "a: yaml"sv},
          std::pair{"notes.txt"sv, "a\0b"sv}, std::pair{"weights.bin"sv, "{}"sv},
          std::pair{"notes.txt"sv, "\x80\x04\x95"sv}, std::pair{"README"sv, "PK\x03\x04"sv}}) {
        const auto refused = check_file_kind(name, as_bytes(head));
        ASSERT_FALSE(refused) << name;
        EXPECT_EQ(refused.error().reason(), "file_kind");
    }
}

}  // namespace
}  // namespace ostal
