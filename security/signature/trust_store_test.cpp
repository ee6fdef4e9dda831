#include "security/signature/trust_store.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "security/signature/test_repository.h"

namespace ostal::security {
namespace {

struct TrustStoreTest : ::testing::Test {
    PosixFiles files;
    std::string folder = ::testing::TempDir() + "trust-XXXXXX";
    std::string anchors, state;

    void SetUp() override {
        ASSERT_NE(::mkdtemp(folder.data()), nullptr);
        anchors = folder + "/trust.d";
        state = folder + "/state";
        ASSERT_TRUE(files.make_directory(anchors));
    }
    void TearDown() override { ASSERT_TRUE(remove_tree(files, folder)); }
    void put_anchor(const std::string& name, const Bytes& root) {
        ASSERT_TRUE(replace_file(files, anchors + "/" + name + ".root.json", root));
    }
    std::unique_ptr<TrustStore> open() {
        auto store = TrustStore::open(files, anchors, state);
        EXPECT_TRUE(store) << store.error().to_string();
        return std::move(*store);
    }
};

TEST_F(TrustStoreTest, NoFolderMeansNoAnchors) {
    const auto store = TrustStore::open(files, folder + "/absent", state);
    ASSERT_TRUE(store);
    EXPECT_TRUE((*store)->anchors().empty());
}

TEST_F(TrustStoreTest, FollowsAChainAndRemembersIt) {
    TestRepository repository(2);
    repository.add_root();
    put_anchor("vendor", repository.files["1.root.json"]);
    for (auto& holders : repository.holders) holders = {1};
    repository.signers[0] = {0, 1};
    repository.next_root();
    repository.signers[0] = {1};
    repository.next_root();
    {
        const auto store = open();
        EXPECT_EQ(store->anchors(), std::vector<std::string>{"vendor"});
        EXPECT_EQ(store->advance("vendor", repository.files["3.root.json"]).error().reason(),
                  "metadata_rollback");
        ASSERT_TRUE(store->advance("vendor", repository.files["2.root.json"]));
        EXPECT_TRUE(store->advance("vendor", repository.files["2.root.json"])) << "again is no error";
        ASSERT_TRUE(store->advance("vendor", repository.files["3.root.json"]));
        EXPECT_FALSE(store->advance("other", repository.files["3.root.json"]));
    }
    const auto store = open();
    EXPECT_TRUE(store->problems().empty());
    EXPECT_EQ(store->newest("vendor")->metadata.version, 3U);
    EXPECT_EQ(store->snapshot()[0].roots.size(), 3U);
    EXPECT_EQ(parse_anchor(store->snapshot()[0])->roots[2].metadata.version, 3U);
    // Any root of the chain may stand in trust.d.
    put_anchor("vendor", repository.files["2.root.json"]);
    EXPECT_EQ(open()->newest("vendor")->metadata.version, 3U);
}

TEST_F(TrustStoreTest, AnchorFileMayBringTheNextRoot) {
    TestRepository repository;
    repository.add_root();
    put_anchor("vendor", repository.files["1.root.json"]);
    (void)open();
    repository.next_root();
    put_anchor("vendor", repository.files["2.root.json"]);
    EXPECT_EQ(open()->newest("vendor")->metadata.version, 2U);
    repository.next_root();
    repository.next_root();
    put_anchor("vendor", repository.files["4.root.json"]);
    const auto store = open();
    EXPECT_TRUE(store->anchors().empty()) << "no link from 2 to 4";
    ASSERT_EQ(store->problems().size(), 1U);
}

TEST_F(TrustStoreTest, RefusesAnExchangedAnchor) {
    TestRepository repository;
    repository.add_root();
    put_anchor("vendor", repository.files["1.root.json"]);
    (void)open();
    TestRepository other(2);
    for (auto& holders : other.holders) holders = {1};
    for (auto& signers : other.signers) signers = {1};
    other.add_root();
    put_anchor("vendor", other.files["1.root.json"]);
    put_anchor("site", other.files["1.root.json"]);
    const auto store = open();
    EXPECT_EQ(store->anchors(), std::vector<std::string>{"site"}) << "the others still work";
    ASSERT_EQ(store->problems().size(), 1U);
    EXPECT_NE(store->problems()[0].find("vendor.root.json"), std::string::npos);
}

TEST_F(TrustStoreTest, LeavesOutBrokenAnchorsAndAlteredChains) {
    TestRepository repository;
    repository.add_root();
    const Bytes good = repository.files["1.root.json"];
    put_anchor("broken", Bytes{'{', '}'});
    Bytes unsigned_root = good;
    unsigned_root[good.size() / 2] ^= 1;
    put_anchor("altered", unsigned_root);
    put_anchor("Vendor", good);
    put_anchor("vendor", good);
    const auto store = open();
    EXPECT_EQ(store->anchors(), std::vector<std::string>{"vendor"});
    EXPECT_EQ(store->problems().size(), 3U);

    repository.next_root();
    ASSERT_TRUE(store->advance("vendor", repository.files["2.root.json"]));
    Bytes bad = repository.files["2.root.json"];
    bad[bad.size() / 2] ^= 1;
    ASSERT_TRUE(replace_file(files, state + "/vendor/2.root.json", bad));
    EXPECT_TRUE(open()->anchors().empty());
}

TEST_F(TrustStoreTest, EveryFailingCallLeavesTheOldOrTheNewRoot) {
    TestRepository repository;
    repository.add_root();
    const Bytes next = [&] {
        TestRepository later;
        later.add_root();
        later.next_root();
        return later.files["2.root.json"];
    }();
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            ASSERT_TRUE(remove_tree(files, state));
            put_anchor("vendor", repository.files["1.root.json"]);
            FaultyFiles faulty(files);
            faulty.fail_at(call, EIO, crash);
            {
                auto store = TrustStore::open(faulty, anchors, state);
                if (store) (void)(*store)->advance("vendor", next);
            }
            const auto store = open();
            ASSERT_EQ(store->anchors(), std::vector<std::string>{"vendor"}) << "call " << call;
            const std::uint64_t version = store->newest("vendor")->metadata.version;
            EXPECT_TRUE(version == 1 || version == 2);
            ASSERT_TRUE(store->advance("vendor", next)) << "call " << call;
            if (!faulty.has_failed()) break;
        }
    }
}

}  // namespace
}  // namespace ostal::security
