#include "security/signature/verifier.h"

#include <gtest/gtest.h>

#include "security/signature/test_repository.h"

namespace ostal::security {
namespace {

// Refused as an integrity failure for this reason.
template <typename T>
void expect_refused(const Result<T>& result, std::string_view reason) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().reason(), reason) << result.error().to_string();
    EXPECT_EQ(result.error().code(), Code::kIntegrity);
}

TEST(Verifier, AcceptsAWholeRepository) {
    TestRepository repository;
    repository.all();
    const auto verified = repository.verify();
    ASSERT_TRUE(verified) << verified.error().to_string();
    EXPECT_TRUE(verified->new_roots.empty());
    EXPECT_EQ(verified->targets.targets.size(), 2U);
    EXPECT_EQ(verified->seen.targets.version, 1U);
    EXPECT_TRUE(repository.verify(verified->seen)) << "the same medium again";
}

// Every byte of every file, four bits of it (two of which turn quotes and digits into spaces): refused. Two
// versions of root, so that the chain is covered too.
TEST(Verifier, RefusesEveryAlteredByte) {
    TestRepository repository(2);
    repository.add_root();
    repository.next_root();
    repository.publish();
    ASSERT_TRUE(repository.verify());
    std::size_t tried = 0;
    for (auto& [name, bytes] : repository.files) {
        const Root trusted = repository.root();
        for (std::size_t at = 0; at < bytes.size(); ++at) {
            const std::uint8_t good = bytes[at];
            for (const unsigned bit : {0U, 1U, 4U, 5U}) {
                bytes[at] = static_cast<std::uint8_t>(good ^ (1U << bit));
                ++tried;
                const auto verified = verify_repository(trusted, {}, repository.files, TestRepository::kNow);
                ASSERT_FALSE(verified) << name << " byte " << at << " bit " << bit;
            }
            bytes[at] = good;
        }
    }
    EXPECT_GT(tried, 4U * 3000);
    ASSERT_TRUE(repository.verify());
}

TEST(Verifier, RefusesEveryTruncationAndExtension) {
    TestRepository repository;
    repository.all();
    for (auto& [name, bytes] : repository.files) {
        const Root trusted = repository.root();
        const Bytes whole = bytes;
        for (std::size_t length = 0; length < whole.size(); ++length) {
            bytes.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            ASSERT_FALSE(verify_repository(trusted, {}, repository.files, TestRepository::kNow))
                << name << length;
        }
        bytes = whole;
        bytes.push_back('x');
        ASSERT_FALSE(verify_repository(trusted, {}, repository.files, TestRepository::kNow)) << name;
        bytes = whole;
    }
}

TEST(Verifier, RefusesMissingExtraAndRenamedFiles) {
    TestRepository repository;
    repository.all();
    for (const auto& [name, bytes] : repository.files) {
        if (name == "1.root.json") continue;
        MetadataFiles without = repository.files;
        without.erase(name);
        expect_refused(verify_repository(repository.root(), {}, without, TestRepository::kNow), "missing");
        MetadataFiles renamed = without;
        renamed["9." + name] = bytes;
        EXPECT_FALSE(verify_repository(repository.root(), {}, renamed, TestRepository::kNow));
    }
    for (const std::string name : {"readme.txt", "2.targets.json", "0.root.json", "01.root.json"}) {
        MetadataFiles extra = repository.files;
        extra[name] = repository.files.at("1.targets.json");
        expect_refused(verify_repository(repository.root(), {}, extra, TestRepository::kNow), "extra");
    }
    MetadataFiles swapped = repository.files;
    std::swap(swapped["1.targets.json"], swapped["1.snapshot.json"]);
    expect_refused(verify_repository(repository.root(), {}, swapped, TestRepository::kNow), "mismatch");
}

TEST(Verifier, UnknownKeyNamesBothFingerprints) {
    TestRepository ours;
    ours.all();
    TestRepository theirs(2);
    for (auto& holders : theirs.holders) holders = {1};
    for (auto& signers : theirs.signers) signers = {1};
    theirs.all();
    const auto refused = verify_repository(ours.root(), {}, theirs.files, TestRepository::kNow);
    expect_refused(refused, "unknown_key");
    const std::string text = refused.error().to_string();
    EXPECT_NE(text.find(key_id_of(ours.keys[0].public_key())), std::string::npos) << text;
    EXPECT_NE(text.find(key_id_of(theirs.keys[1].public_key())), std::string::npos) << text;

    const std::vector<AnchorChain> anchors = {{"vendor", {ours.root()}}};
    const auto found = find_anchor(anchors, theirs.files);
    expect_refused(found, "unknown_key");
    EXPECT_NE(found.error().to_string().find(key_id_of(theirs.keys[1].public_key())), std::string::npos);
    EXPECT_EQ((*find_anchor(anchors, ours.files))->name, "vendor");
}

TEST(Verifier, EachRoleNeedsItsOwnKey) {
    for (const MetadataRole role :
         {MetadataRole::kTimestamp, MetadataRole::kSnapshot, MetadataRole::kTargets}) {
        TestRepository repository(2);
        repository.add_root();
        repository.signers[static_cast<std::size_t>(role)] = {1};
        repository.publish();
        expect_refused(repository.verify(), "unknown_key");
    }
}

TEST(Verifier, ThresholdCountsDistinctKeys) {
    TestRepository repository(3);
    repository.holders[3] = {0, 1};
    repository.thresholds[3] = 2;
    repository.signers[3] = {0, 1};
    repository.all();
    ASSERT_TRUE(repository.verify());

    repository.signers[3] = {0};
    repository.publish();
    expect_refused(repository.verify(), "below_threshold");
    repository.signers[3] = {0, 2};  // a stranger's signature does not count
    repository.publish();
    expect_refused(repository.verify(), "below_threshold");
    repository.signers[3] = {0, 0};
    repository.publish();
    expect_refused(repository.verify(), "below_threshold");
}

TEST(Verifier, OneKeyUnderTwoIdsCountsOnce) {
    // The parser refuses ids that are not the digest of the key; the counting holds without it too.
    TestRepository repository;
    repository.all();
    Root root = repository.root();
    const KeyId id = root.keys.begin()->first;
    const KeyId alias(64, 'a');
    root.keys[alias] = root.keys.at(id);
    RoleKeys& wanted = root.roles[static_cast<std::size_t>(MetadataRole::kTargets)];
    wanted.key_ids.push_back(alias);
    wanted.threshold = 2;
    Metadata metadata = parse_targets(repository.files["1.targets.json"])->metadata;
    RoleSignature again = metadata.signatures[0];
    again.key_id = alias;
    metadata.signatures.push_back(again);
    expect_refused(check_signatures(root, MetadataRole::kTargets, metadata), "below_threshold");
}

TEST(Verifier, KeyIdMustBeTheDigestOfItsKey) {
    TestRepository repository;
    repository.all();
    json::Value document = repository.root_document();
    json::Object& keys = document.as_object().find("keys")->as_object();
    const json::Value key = keys.begin()->second;
    keys.append(std::string(64, 'a'), key);
    EXPECT_EQ(parse_root(repository.sign(MetadataRole::kRoot, document)).error().reason(), "malformed");
}

TEST(Verifier, ExpiryOfEveryRole) {
    for (std::size_t role = 0; role < 4; ++role) {
        TestRepository repository;
        repository.expires[role] = TestRepository::kNow;
        repository.all();
        const auto refused = repository.verify();
        expect_refused(refused, "expired");
        EXPECT_NE(refused.error().to_string().find("2027-01-15T08:00:00Z"), std::string::npos);
        repository.expires[role] = TestRepository::kNow + 1'000'000;
        repository.all();
        EXPECT_TRUE(repository.verify());
    }
}

TEST(Verifier, ALowerVersionOfEveryRoleIsARollback) {
    TestRepository repository;
    repository.versions = {1, 5, 5, 5};
    repository.all();
    const SeenVersions seen = repository.verify()->seen;
    for (std::size_t role = 1; role < 4; ++role) {
        TestRepository older;
        older.versions = {1, 5, 5, 5};
        older.versions[role] = 4;
        older.all();
        const auto refused = older.verify(seen);
        expect_refused(refused, "metadata_rollback");
    }
    repository.versions = {1, 6, 6, 6};
    repository.publish();
    EXPECT_TRUE(repository.verify(seen));
}

TEST(Verifier, OneNumberHasOneContent) {
    TestRepository repository;
    repository.all();
    const SeenVersions seen = repository.verify()->seen;
    repository.targets.push_back(TestRepository::target("demo", 1, "README.md", "more"));
    repository.versions = {1, 2, 2, 1};
    repository.publish();
    expect_refused(repository.verify(seen), "metadata_rollback");
}

TEST(Verifier, RootChain) {
    TestRepository repository(3);
    repository.add_root();
    const Root first = repository.root();
    // Version 2 moves every role from key 0 to key 1 and is signed by both.
    for (auto& holders : repository.holders) holders = {1};
    repository.signers = {{{0, 1}, {1}, {1}, {1}}};
    repository.next_root();
    const Root second = repository.root(2);
    // Version 3 adds key 2 with a threshold of 2.
    repository.holders[0] = {1, 2};
    repository.thresholds[0] = 2;
    repository.signers[0] = {1, 2};
    repository.next_root();
    repository.publish();

    for (std::uint64_t trusted = 1; trusted <= 3; ++trusted) {
        const auto verified = repository.verify({}, trusted);
        ASSERT_TRUE(verified) << trusted << verified.error().to_string();
        EXPECT_EQ(verified->new_roots.size(), 3 - trusted);
        EXPECT_EQ(verified->root.metadata.version, 3U);
    }
    EXPECT_EQ(repository.verify()->new_roots, (std::vector<std::string>{"2.root.json", "3.root.json"}));

    MetadataFiles gap = repository.files;
    gap.erase("2.root.json");
    EXPECT_FALSE(verify_repository(first, {}, gap, TestRepository::kNow));
    MetadataFiles older = repository.files;
    older.erase("3.root.json");
    expect_refused(verify_repository(repository.root(3), {}, older, TestRepository::kNow),
                   "metadata_rollback");
    MetadataFiles skipped = repository.files;
    skipped["2.root.json"] = skipped["3.root.json"];
    expect_refused(verify_repository(first, {}, skipped, TestRepository::kNow), "mismatch");
}

TEST(Verifier, ARootStepNeedsBothThresholds) {
    for (const std::size_t signer : {0U, 1U}) {
        TestRepository repository(2);
        repository.add_root();
        for (auto& holders : repository.holders) holders = {1};
        repository.signers = {{{signer}, {1}, {1}, {1}}};
        repository.next_root();
        repository.publish();
        EXPECT_FALSE(repository.verify()) << "signed by key " << signer << " alone";
    }
}

TEST(Verifier, ATrustedRootCannotBeExchanged) {
    TestRepository repository;
    repository.all();
    const Root trusted = repository.root();
    repository.expires[0] += 1'000'000;  // another root, same number, same key
    repository.all();
    expect_refused(verify_repository(trusted, {}, repository.files, TestRepository::kNow), "wrong_root");
}

TEST(Verifier, NewKeysOfARoleForgetWhatWasSeenOfIt) {
    TestRepository repository(2);
    repository.versions = {1, 90, 90, 90};
    repository.all();
    const SeenVersions seen = repository.verify()->seen;
    repository.holders[1] = {1};
    repository.holders[2] = {1};
    repository.next_root();
    repository.signers = {{{0}, {1}, {1}, {0}}};
    repository.versions = {2, 1, 1, 90};
    repository.publish();
    const auto recovered = repository.verify(seen);
    ASSERT_TRUE(recovered) << recovered.error().to_string();
    EXPECT_EQ(recovered->seen.timestamp.version, 1U);
    EXPECT_EQ(recovered->seen.targets.version, 90U);
    repository.versions = {2, 1, 1, 89};
    repository.publish();
    expect_refused(repository.verify(seen), "metadata_rollback");
}

TEST(Verifier, EveryLoadAsksTheNewestRoot) {
    TestRepository repository(2);
    repository.all();
    const Bytes admitted = repository.files["1.targets.json"];
    EXPECT_TRUE(recheck_targets(repository.root(), admitted));
    repository.holders[3] = {1};
    repository.next_root();
    expect_refused(recheck_targets(repository.root(2), admitted), "unknown_key");
}

}  // namespace
}  // namespace ostal::security
