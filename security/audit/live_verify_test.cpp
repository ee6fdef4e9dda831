// Verification while the log is written: whatever its writer does between two looks at the folder is no fault
// of the log.
#include <gtest/gtest.h>

#include <functional>

#include "security/audit/log.h"
#include "security/audit/test_support.h"
#include "security/audit/verify.h"

namespace ostal::security {
namespace {

using audit_test::BoxKeys;
using audit_test::KeyBox;
using audit_test::options_of;
using audit_test::sample_record;
using audit_test::TempFolder;

// Calls `before` ahead of each look at the folder.
class WatchedFiles final : public Files {
public:
    WatchedFiles(Files& under, std::function<void()> before) : under_(under), before_(std::move(before)) {}
    Result<std::unique_ptr<File>> open(const std::string& path, Open how) override {
        before_();
        return under_.open(path, how);
    }
    Result<std::vector<std::string>> list_directory(const std::string& path) override {
        before_();
        return under_.list_directory(path);
    }
    Result<FileInfo> info(const std::string& path) override {
        before_();
        return under_.info(path);
    }
    // A verifier changes nothing.
    Status rename(const std::string&, const std::string&) override { return refuse(); }
    Status remove_file(const std::string&) override { return refuse(); }
    Status remove_directory(const std::string&) override { return refuse(); }
    Status make_directory(const std::string&) override { return refuse(); }
    Status sync_directory(const std::string&) override { return refuse(); }

private:
    static Status refuse() {
        ADD_FAILURE() << "a verifier wrote";
        return fail(Code::kInternal, "a verifier wrote");
    }
    Files& under_;
    std::function<void()> before_;
};

class AuditLiveVerifyTest : public testing::Test {
protected:
    // A log whose open bundle has room for 6 more records.
    void begin(const std::string& folder) {
        AuditLog::Options options = options_of(folder);
        options.checkpoint_records = 100;
        log_ = AuditLog::open(options, files_, clock_, sink_).value();
        box_ = std::make_unique<KeyBox>();
        ASSERT_TRUE(log_->unseal(std::make_unique<BoxKeys>(*box_)));
        append(250);
    }
    void append(int count) {
        for (int i = 0; i < count; ++i)
            ASSERT_TRUE(log_->append(sample_record(static_cast<std::uint64_t>(i))));
    }
    AuditVerdict verify(Files& files, const std::string& folder, const AuditSnapshot* snapshot) {
        AuditVerifyOptions options;
        options.folder = folder;
        options.snapshot = snapshot;
        options.mac_key = box_->first_mac_key;
        auto verdict = verify_audit(options, files);
        EXPECT_TRUE(verdict) << verdict.error().to_string();
        return verdict.value_or(AuditVerdict{});
    }

    audit_test::UnsyncedFiles files_;
    ManualClock clock_;
    NullLog sink_;
    std::unique_ptr<KeyBox> box_;
    std::unique_ptr<AuditLog> log_;
};

// At the k-th look, for every k: the open bundle is closed and renamed, tiles and a checkpoint come, a new
// bundle opens.
TEST_F(AuditLiveVerifyTest, AMoveAtAnyMomentIsNoFault) {
    for (const bool with_snapshot : {false, true}) {
        for (std::uint64_t k = 1;; ++k) {
            const TempFolder folder;
            begin(folder.path());
            std::optional<AuditSnapshot> snapshot;
            if (with_snapshot) snapshot = log_->snapshot().value();
            std::uint64_t looks = 0;
            WatchedFiles watched(files_, [&] {
                if (++looks == k) append(20);
            });
            const AuditVerdict verdict = verify(watched, folder.path(), snapshot ? &*snapshot : nullptr);
            EXPECT_TRUE(verdict.ok) << "look " << k << ": " << verdict.problem;
            if (with_snapshot) {
                EXPECT_EQ(verdict.records, 250U);
            }
            log_.reset();
            if (looks < k) {
                EXPECT_GT(k, with_snapshot ? 3U : 5U);
                break;
            }
        }
    }
}

// The writer never rests: what the daemon verifies is the moment that it took.
TEST_F(AuditLiveVerifyTest, ASnapshotHoldsUnderAWriterThatNeverRests) {
    const TempFolder folder;
    begin(folder.path());
    append(600);
    const AuditSnapshot snapshot = log_->snapshot().value();
    WatchedFiles watched(files_, [&] { append(70); });
    const AuditVerdict verdict = verify(watched, folder.path(), &snapshot);
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_EQ(verdict.records, 850U);
    EXPECT_GT(log_->state().records, 1'000U);
}

// What never was acknowledged is not part of it, and a changed record is found in spite of the snapshot.
TEST_F(AuditLiveVerifyTest, ASnapshotHidesNoDamage) {
    const TempFolder folder;
    begin(folder.path());
    append(100);
    Bytes bytes = audit_test::read_all(folder / "tile/entries/000");
    bytes[1000] ^= 1;
    audit_test::write_all(folder / "tile/entries/000", bytes);
    const AuditSnapshot snapshot = log_->snapshot().value();
    EXPECT_FALSE(verify(files_, folder.path(), &snapshot).ok);
}

}  // namespace
}  // namespace ostal::security
