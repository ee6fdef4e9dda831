#include "appliance/model_store/store.h"

#include "appliance/model_store/store_fixture.h"
#include "security/storage/floor_file.h"

namespace ostal {
namespace {

struct StoreTest : ModelStoreTest {
    // Imports versions 1 to `count` of "demo", each with weights of its own.
    void import_versions(std::uint64_t count) {
        for (std::uint64_t version = 1; version <= count; ++version) {
            const auto imported =
                site.import(vendor.sign("medium-" + std::to_string(version), "demo", version, version));
            ASSERT_TRUE(imported) << imported.error().to_string();
        }
    }
    void activate(std::uint64_t version) {
        ASSERT_TRUE(site.approve("demo", version));
        const auto active = site.store->activate("demo", version, person(1), 1, healthy);
        ASSERT_TRUE(active) << active.error().to_string();
        EXPECT_EQ(active->state, VersionState::kConfirmed);
    }
    ModelVersion version(std::uint64_t number) { return *site.store->get("demo", number); }
    std::string floor_path() const { return site.folder() + "/keystore/floor"; }
    security::Floors read_floors() {
        const auto key = *site.keyring->service_key(security::ServiceKey::kFloor);
        return *security::read_floor_file(files, floor_path(), key.view());
    }
    void execute(std::string_view sql) {
        auto tx = *site.database->begin_write();
        ASSERT_TRUE(tx.execute(sql));
        ASSERT_TRUE(tx.commit());
    }
};

TEST_F(StoreTest, OnePersonsSite) {
    import_versions(1);
    EXPECT_EQ(version(1).state, VersionState::kVerified);
    EXPECT_EQ(site.store->open_version("demo", 1).error().code(), Code::kConflict) << "not approved";
    EXPECT_EQ(site.store->activate("demo", 1, person(1), 1, healthy).error().code(), Code::kConflict);
    ASSERT_TRUE(site.store->approve("demo", 1, version(1).manifest_sha256, person(1), 1))
        << "importer and approver are one";
    EXPECT_EQ(version(1).state, VersionState::kApproved);
    EXPECT_EQ(site.serving("demo"), 0U);
    bool was_active = false;
    ASSERT_TRUE(site.store->activate(
        "demo", 1, person(1), 1, [&](const std::string& model, std::uint64_t number) -> Status {
            was_active = site.store->get(model, number)->state == VersionState::kActive;
            EXPECT_TRUE(site.store->open_version(model, number)) << "the gate loads it";
            return {};
        }));
    EXPECT_TRUE(was_active);
    EXPECT_EQ(version(1).state, VersionState::kConfirmed);
    EXPECT_TRUE(version(1).is_serving);
    EXPECT_EQ(*site.store->floor("demo"), 1U);
    EXPECT_EQ(read_floors().at("model/demo").version, 1U);
}

TEST_F(StoreTest, FourEyes) {
    import_versions(1);
    const std::string manifest = version(1).manifest_sha256;
    EXPECT_EQ(site.store->approve("demo", 1, manifest, person(1), 2).error().code(), Code::kPermissionDenied)
        << "imported it";
    EXPECT_EQ(site.store->approve("demo", 1, std::string(64, '0'), person(2), 2).error().code(),
              Code::kConflict);
    ASSERT_TRUE(site.store->approve("demo", 1, manifest, person(2), 2));
    ASSERT_TRUE(site.store->approve("demo", 1, manifest, person(2), 2));
    EXPECT_EQ(version(1).state, VersionState::kVerified) << "one person twice is one person";
    EXPECT_EQ(version(1).approvals.size(), 1U);
    ASSERT_TRUE(site.store->approve("demo", 1, manifest, person(3), 2));
    EXPECT_EQ(version(1).state, VersionState::kApproved);
    EXPECT_EQ(site.store->approve("demo", 1, manifest, person(4), 2).error().code(), Code::kConflict)
        << "approved already";
    EXPECT_EQ(site.store->activate("demo", 1, person(3), 2, healthy).error().code(), Code::kPermissionDenied);
    EXPECT_TRUE(site.store->activate("demo", 1, person(1), 2, healthy));
    EXPECT_EQ(site.store->approve("demo", 9, manifest, person(2), 2).error().code(), Code::kNotFound);
}

TEST_F(StoreTest, ApprovalsExpire) {
    import_versions(1);
    const std::string manifest = version(1).manifest_sha256;
    ASSERT_TRUE(site.store->approve("demo", 1, manifest, person(2), 2));
    clock.advance_us(24 * 3600 * 1'000'000LL);
    ASSERT_TRUE(site.store->approve("demo", 1, manifest, person(3), 2));
    EXPECT_EQ(version(1).state, VersionState::kVerified);
    ASSERT_TRUE(site.store->approve("demo", 1, manifest, person(2), 2));
    EXPECT_EQ(version(1).state, VersionState::kApproved);
}

TEST_F(StoreTest, AFailedTrialFallsBack) {
    import_versions(3);
    activate(1);
    activate(2);
    ASSERT_TRUE(site.approve("demo", 3));
    const auto failed = site.store->activate("demo", 3, person(1), 1, broken);
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().to_string().find("nonsense"), std::string::npos);
    EXPECT_EQ(site.serving("demo"), 2U);
    EXPECT_EQ(version(3).state, VersionState::kApproved);
    EXPECT_TRUE(version(1).is_previous) << "the mark is where it was";
    EXPECT_TRUE(version(1).is_loadable);
    EXPECT_EQ(*site.store->floor("demo"), 2U);
    EXPECT_TRUE(site.store->activate("demo", 3, person(1), 1, healthy)) << "and may be tried again";
    EXPECT_EQ(site.serving("demo"), 3U);
}

TEST_F(StoreTest, AFailedFirstTrialLeavesNothingServing) {
    import_versions(1);
    ASSERT_TRUE(site.approve("demo", 1));
    EXPECT_FALSE(site.store->activate("demo", 1, person(1), 1, broken));
    EXPECT_EQ(site.serving("demo"), 0U);
    EXPECT_EQ(*site.store->floor("demo"), 0U);
}

TEST_F(StoreTest, FloorAndPreviousDecideWhatLoads) {
    import_versions(3);
    activate(1);
    activate(2);
    EXPECT_TRUE(version(1).is_previous);
    EXPECT_TRUE(site.store->open_version("demo", 1)) << "previous is exempt from the floor";
    activate(3);
    EXPECT_TRUE(version(2).is_previous);
    EXPECT_FALSE(version(1).is_loadable);
    EXPECT_EQ(version(1).state, VersionState::kRetired);
    EXPECT_TRUE(version(1).has_files);
    EXPECT_FALSE(site.store->open_version("demo", 1));
    EXPECT_EQ(read_floors().at("model/demo"), (security::Floor{3, 2}));
}

TEST_F(StoreTest, RollsBackOnceAndForthAgain) {
    import_versions(3);
    activate(1);
    EXPECT_EQ(site.store->rollback("demo", person(1), healthy).error().code(), Code::kConflict)
        << "nothing before it";
    activate(2);
    EXPECT_FALSE(site.store->rollback("demo", person(1), broken));
    EXPECT_EQ(site.serving("demo"), 2U);
    EXPECT_EQ(version(2).state, VersionState::kConfirmed);
    ASSERT_TRUE(site.store->rollback("demo", person(1), healthy));
    EXPECT_EQ(site.serving("demo"), 1U);
    EXPECT_EQ(version(2).state, VersionState::kApproved);
    EXPECT_TRUE(site.store->open_version("demo", 1));
    EXPECT_EQ(*site.store->floor("demo"), 2U) << "a rollback lowers no floor";
    EXPECT_EQ(site.store->rollback("demo", person(1), healthy).error().code(), Code::kConflict);
    site.open();
    EXPECT_TRUE(site.store->alarms().empty());
    EXPECT_EQ(site.serving("demo"), 1U);
    // Forward to a later version: what served (1) stays previous.
    activate(3);
    EXPECT_TRUE(version(1).is_previous);
    ASSERT_TRUE(site.store->rollback("demo", person(1), healthy));
    EXPECT_EQ(site.serving("demo"), 1U);
    ASSERT_TRUE(site.store->activate("demo", 3, person(1), 1, healthy));
    EXPECT_EQ(site.serving("demo"), 3U);
    EXPECT_EQ(site.store->rollback("none", person(1), healthy).error().code(), Code::kNotFound);
}

TEST_F(StoreTest, RetireErasesKeysAndFiles) {
    import_versions(3);
    activate(1);
    activate(2);
    EXPECT_EQ(site.store->retire("demo", 2).error().code(), Code::kConflict) << "serves";
    EXPECT_EQ(site.store->retire("demo", 1).error().code(), Code::kConflict) << "previous";
    activate(3);
    const std::size_t keys = site.keyring->list_deks()->size();
    ASSERT_TRUE(site.store->retire("demo", 1));
    EXPECT_EQ(site.keyring->list_deks()->size(), keys - version(2).file_count);
    EXPECT_FALSE(fs::exists(site.folder() + "/models/demo/1"));
    EXPECT_FALSE(version(1).has_files);
    EXPECT_TRUE(site.store->retire("demo", 1)) << "again is no error";
    EXPECT_EQ(site.store->retire("demo", 9).error().code(), Code::kNotFound);
    EXPECT_EQ(site.store->data_keys()->size(), site.keyring->list_deks()->size());
}

TEST_F(StoreTest, ChangesOfOneNameDoNotOverlap) {
    import_versions(1);
    ASSERT_TRUE(site.approve("demo", 1));
    ASSERT_TRUE(
        site.store->activate("demo", 1, person(1), 1, [&](const std::string&, std::uint64_t) -> Status {
            EXPECT_EQ(site.store->retire("demo", 1).error().code(), Code::kConflict);
            EXPECT_EQ(site.store->rollback("demo", person(1), healthy).error().code(), Code::kConflict);
            EXPECT_EQ(site.store->list()->size(), 1U) << "reading goes on";
            return {};
        }));
}

TEST_F(StoreTest, ATrialCutOffByACrashIsGivenUp) {
    import_versions(2);
    activate(1);
    ASSERT_TRUE(site.approve("demo", 2));
    execute("UPDATE model_versions SET state = 'active' WHERE version = 2");
    execute("UPDATE model_names SET serving = 2, previous = 1, restore_previous = NULL");
    site.open();
    EXPECT_TRUE(site.store->alarms().empty());
    EXPECT_EQ(site.serving("demo"), 1U);
    EXPECT_EQ(version(2).state, VersionState::kApproved);
}

// The floor file is written before the row, and every call of that fails once; the version before serves, or
// the new one does and has raised both floors.
TEST_F(StoreTest, ActivationIsOldOrNewAtEveryFailingCall) {
    std::uint64_t newest = 1;
    const auto import_next = [&] {
        ++newest;
        const std::string medium = vendor.sign("medium-" + std::to_string(newest), "demo", newest, newest);
        ASSERT_TRUE(site.import(medium));
        ASSERT_TRUE(site.approve("demo", newest));
    };
    import_versions(1);
    activate(1);
    import_next();
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            FaultyFiles faulty(files);
            site.open(&faulty);
            faulty.fail_at(call, ENOSPC, crash);
            const auto result = site.store->activate("demo", newest, person(1), 1, healthy);
            const bool has_failed = faulty.has_failed();
            site.open();
            ASSERT_TRUE(site.store->alarms().empty()) << site.store->alarms()[0];
            const std::uint64_t serving = site.serving("demo");
            ASSERT_TRUE(site.store->open_version("demo", serving)) << "call " << call;
            ASSERT_EQ(version(serving).state, VersionState::kConfirmed);
            ASSERT_EQ(*site.store->floor("demo"), serving);
            ASSERT_EQ(read_floors().at("model/demo").version, serving);
            if (result) {
                ASSERT_EQ(serving, newest);
            }
            if (serving == newest) import_next();
            if (!has_failed) break;
        }
    }
    EXPECT_GE(newest, 3U);
}

// The store goes on after the failure: nothing stays on trial, and the same call succeeds when it is made
// again.
TEST_F(StoreTest, AFailedActivationCanBeDoneAgainAtOnce) {
    import_versions(1);
    activate(1);
    std::uint64_t failures = 0;
    for (std::uint64_t call = 1;; ++call) {
        const std::uint64_t newest = call + 1;
        ASSERT_TRUE(site.import(vendor.sign("medium-" + std::to_string(newest), "demo", newest, newest)));
        ASSERT_TRUE(site.approve("demo", newest));
        FaultyFiles faulty(files);
        site.open(&faulty);
        faulty.fail_at(call, EIO, false);
        const auto result = site.store->activate("demo", newest, person(1), 1, healthy);
        if (!result) {
            ++failures;
            EXPECT_EQ(site.serving("demo"), newest - 1) << "call " << call;
            EXPECT_EQ(version(newest).state, VersionState::kApproved) << "call " << call;
            const auto again = site.store->activate("demo", newest, person(1), 1, healthy);
            ASSERT_TRUE(again) << "call " << call << ": " << again.error().to_string();
        }
        EXPECT_EQ(version(newest).state, VersionState::kConfirmed);
        EXPECT_EQ(site.serving("demo"), newest);
        EXPECT_EQ(read_floors().at("model/demo").version, newest);
        if (!faulty.has_failed()) break;
    }
    EXPECT_GE(failures, 3U);
}

TEST_F(StoreTest, DisagreeingFloorsRaiseAnAlarmAndTheHigherHolds) {
    import_versions(2);
    activate(1);
    const Bytes old_floors = *read_file(files, floor_path(), 1U << 20);
    activate(2);
    // An old floor file is put back.
    ASSERT_TRUE(replace_file(files, floor_path(), old_floors));
    site.open();
    ASSERT_EQ(site.store->alarms().size(), 1U);
    EXPECT_NE(site.store->alarms()[0].find("disagree"), std::string::npos);
    EXPECT_EQ(*site.store->floor("demo"), 2U);
    site.open();
    EXPECT_TRUE(site.store->alarms().empty()) << "settled";
    // The database's floor and mark are lowered.
    execute("UPDATE model_names SET floor = 0, previous = NULL");
    site.open();
    EXPECT_EQ(site.store->alarms().size(), 1U);
    EXPECT_EQ(*site.store->floor("demo"), 2U);
    EXPECT_TRUE(version(1).is_previous);
}

TEST_F(StoreTest, AMarkInTheDatabaseAloneLoadsNothing) {
    import_versions(3);
    activate(1);
    activate(2);
    activate(3);
    execute("UPDATE model_names SET previous = 1");
    execute("UPDATE model_versions SET state = 'confirmed' WHERE version = 1");
    EXPECT_EQ(site.store->open_version("demo", 1).error().reason(), "below_floor");
    EXPECT_FALSE(site.store->rollback("demo", person(1), healthy));
    site.open();
    EXPECT_EQ(site.store->alarms().size(), 1U);
    EXPECT_TRUE(version(2).is_previous);
}

TEST_F(StoreTest, AMissingOrAlteredFloorFileIsAnAlarm) {
    import_versions(1);
    activate(1);
    Bytes content = *read_file(files, floor_path(), 1U << 20);
    content[content.size() / 2] ^= 1;
    ASSERT_TRUE(replace_file(files, floor_path(), content));
    site.open();
    EXPECT_FALSE(site.store->alarms().empty());
    EXPECT_EQ(*site.store->floor("demo"), 1U);
    site.open();
    EXPECT_TRUE(site.store->alarms().empty());
    fs::remove(floor_path());
    site.open();
    EXPECT_FALSE(site.store->alarms().empty());
    EXPECT_EQ(*site.store->floor("demo"), 1U);
}

TEST_F(StoreTest, TrustedRootsTakenBackAreNoticed) {
    import_versions(1);
    activate(1);
    vendor.rotate();
    ASSERT_TRUE(site.import(vendor.sign("other", "other", 1)));
    fs::remove(site.folder() + "/keystore/trust/vendor/2.root.json");
    site.open();
    EXPECT_FALSE(site.store->alarms().empty());
    EXPECT_EQ(site.store->open_version("demo", 1).error().reason(), "metadata_rollback");
}

// Every byte of every file of a version on disk, a sample of the weights: never a load of other bytes.
TEST_F(StoreTest, AlteredFilesDoNotLoad) {
    import_versions(1);
    ASSERT_TRUE(site.approve("demo", 1));
    const std::string version_folder = site.folder() + "/models/demo/1";
    for (const auto& entry : fs::directory_iterator(version_folder)) {
        const std::string path = entry.path();
        const Bytes good = *read_file(files, path, 1U << 30);
        const std::size_t step = std::max<std::size_t>(1, good.size() / 40);
        Bytes bad = good;
        for (std::size_t i = 0; i < good.size(); i += step) {
            bad[i] ^= 0x02;
            ASSERT_TRUE(replace_file(files, path, bad));
            const auto status = site.store->verify_version("demo", 1, {});
            ASSERT_FALSE(status) << path << " byte " << i;
            ASSERT_EQ(status.error().code(), Code::kIntegrity) << status.error().to_string();
            bad[i] = good[i];
        }
        bad.pop_back();
        ASSERT_TRUE(replace_file(files, path, bad));
        EXPECT_FALSE(site.store->open_version("demo", 1)) << "cut " << path;
        fs::remove(path);
        EXPECT_FALSE(site.store->open_version("demo", 1)) << "without " << path;
        ASSERT_TRUE(replace_file(files, path, good));
    }
    ASSERT_TRUE(replace_file(files, version_folder + "/extra.ostw", as_bytes("x")));
    EXPECT_EQ(site.store->open_version("demo", 1).error().code(), Code::kIntegrity);
    fs::remove(version_folder + "/extra.ostw");
    // Two sealed files change places.
    fs::rename(version_folder + "/config.json.ostw", version_folder + "/aside");
    fs::rename(version_folder + "/README.md.ostw", version_folder + "/config.json.ostw");
    fs::rename(version_folder + "/aside", version_folder + "/README.md.ostw");
    EXPECT_EQ(site.store->open_version("demo", 1).error().code(), Code::kIntegrity);
}

TEST_F(StoreTest, FilesOfAnotherVersionDoNotPass) {
    import_versions(2);
    ASSERT_TRUE(site.approve("demo", 1));
    ASSERT_TRUE(site.approve("demo", 2));
    fs::rename(site.folder() + "/models/demo/2", site.folder() + "/models/demo/aside");
    fs::rename(site.folder() + "/models/demo/1", site.folder() + "/models/demo/2");
    fs::rename(site.folder() + "/models/demo/aside", site.folder() + "/models/demo/1");
    EXPECT_EQ(site.store->open_version("demo", 1).error().code(), Code::kIntegrity);
    EXPECT_EQ(site.store->open_version("demo", 2).error().code(), Code::kIntegrity);
}

TEST_F(StoreTest, ForeignFoldersAreSweptAtStart) {
    import_versions(1);
    fs::create_directories(site.folder() + "/models/demo/7");
    fs::create_directories(site.folder() + "/models/ghost/1");
    fs::create_directories(site.folder() + "/staging/abc/targets");
    site.open();
    EXPECT_FALSE(fs::exists(site.folder() + "/models/demo/7"));
    EXPECT_FALSE(fs::exists(site.folder() + "/models/ghost/1"));
    EXPECT_TRUE(fs::is_empty(site.folder() + "/staging"));
    EXPECT_EQ(version(1).state, VersionState::kVerified);
}

TEST_F(StoreTest, ASealedKeyringLoadsNothing) {
    import_versions(1);
    ASSERT_TRUE(site.approve("demo", 1));
    site.keyring->seal();
    EXPECT_EQ(site.store->open_version("demo", 1).error().code(), Code::kUnavailable);
}

TEST_F(StoreTest, VerifyReportsProgressAndStops) {
    import_versions(1);
    std::uint64_t last = 0;
    ASSERT_TRUE(site.store->verify_version("demo", 1, [&](std::uint64_t done, std::uint64_t total) {
        EXPECT_GE(done, last);
        EXPECT_LE(done, total);
        last = done;
        return true;
    }));
    EXPECT_EQ(last, version(1).total_bytes);
    EXPECT_EQ(site.store->verify_version("demo", 1, [](std::uint64_t, std::uint64_t) { return false; })
                  .error()
                  .code(),
              Code::kCancelled);
}

}  // namespace
}  // namespace ostal
