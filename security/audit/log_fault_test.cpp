// Every call to the file system fails once, and as the last thing before a crash: what was acknowledged
// stays.
#include <gtest/gtest.h>

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

constexpr std::uint64_t kBefore = 252;  // a rename comes after four more

class AuditLogFaultTest : public testing::Test {
protected:
    void SetUp() override { audit_test::make_log(template_.path(), kBefore, template_box_); }

    void restore_template() {
        folder_ = std::make_unique<TempFolder>();
        std::filesystem::copy(
            template_.path(), folder_->path(),
            std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
        box_ = template_box_;
        acknowledged_.clear();
        next_ = 1000;
    }
    std::unique_ptr<AuditLog> open(Files& files) {
        auto log = AuditLog::open(options_of(folder_->path()), files, clock_, sink_);
        return log ? std::move(*log) : nullptr;
    }
    void append(AuditLog& log, int count) {
        for (int i = 0; i < count; ++i) {
            const AuditRecord record = sample_record(next_++);
            if (log.append(record)) acknowledged_.push_back(record.id);
        }
    }
    // Everything a log's life does, in calls that are the same each time.
    void live(Files& files, bool recover) {
        auto log = open(files);
        if (!log) return;
        const auto go_on = [&] {
            if (recover && log->state().latched) (void)log->recover();
        };
        append(*log, 2);
        go_on();
        (void)log->unseal(std::make_unique<BoxKeys>(box_));
        go_on();
        append(*log, 4);  // fills the bundle
        go_on();
        append(*log, 3);
        go_on();
        (void)log->checkpoint();
        go_on();
        append(*log, 2);
        const AuditRecord sealing = sample_record(next_++);
        if (log->seal(sealing)) acknowledged_.push_back(sealing.id);
        go_on();
        append(*log, 2);
        (void)log->close();
    }
    // A healthy start after it: the log opens, verifies with its MACs, and holds all that was acknowledged.
    void expect_whole(std::uint64_t call, const char* how) {
        auto log = open(files_);
        ASSERT_NE(log, nullptr) << how << " " << call;
        ASSERT_TRUE(log->unseal(std::make_unique<BoxKeys>(box_))) << how << " " << call;
        ASSERT_TRUE(log->append(sample_record(1)));
        std::vector<std::string> ids;
        const std::vector<std::string> texts = log->read(kBefore, 100).value();
        for (const std::string& text : texts) ids.push_back(parse_record(text)->record.id);
        ASSERT_TRUE(log->close()) << how << " " << call;
        log.reset();
        auto at = ids.begin();
        for (const std::string& id : acknowledged_) {
            at = std::find(at, ids.end(), id);
            ASSERT_NE(at, ids.end()) << how << " " << call << ": " << id << " was acknowledged and is gone";
            ++at;
        }
        AuditVerifyOptions options;
        options.folder = folder_->path();
        options.mac_key = template_box_.first_mac_key;
        const auto verdict = verify_audit(options, files_);
        ASSERT_TRUE(verdict && verdict->ok) << how << " " << call << ": " << verdict->problem;
        EXPECT_EQ(verdict->checkpoint_size, verdict->records);
    }

    audit_test::UnsyncedFiles files_;
    ManualClock clock_;
    NullLog sink_;
    TempFolder template_;
    KeyBox template_box_;
    std::unique_ptr<TempFolder> folder_;
    KeyBox box_;
    std::vector<std::string> acknowledged_;
    std::uint64_t next_ = 0;
};

TEST_F(AuditLogFaultTest, ACrashAtEveryCall) {
    for (const int error_number : {EIO, ENOSPC}) {
        std::uint64_t call = 0;
        for (bool reached = true; reached;) {
            restore_template();
            FaultyFiles faulty(files_);
            faulty.fail_at(++call, error_number, true);
            live(faulty, false);
            reached = faulty.has_failed();
            if (!reached) {
                EXPECT_EQ(acknowledged_.size(), 14U);
            }
            ASSERT_NO_FATAL_FAILURE(expect_whole(call, "crash"));
        }
        EXPECT_GT(call, 80U);
    }
}

TEST_F(AuditLogFaultTest, AFaultAtEveryCallThenRecovery) {
    std::uint64_t call = 0;
    for (bool reached = true; reached;) {
        restore_template();
        FaultyFiles faulty(files_);
        ++call;
        faulty.fail_at(call, call % 2 == 0 ? EIO : ENOSPC, false);
        live(faulty, true);
        reached = faulty.has_failed();
        ASSERT_NO_FATAL_FAILURE(expect_whole(call, "fault"));
    }
    EXPECT_GT(call, 80U);
}

TEST_F(AuditLogFaultTest, ACrashAtEveryCallOfAFirstStart) {
    std::uint64_t call = 0;
    for (bool reached = true; reached;) {
        folder_ = std::make_unique<TempFolder>();
        box_ = KeyBox();
        acknowledged_.clear();
        FaultyFiles faulty(files_);
        faulty.fail_at(++call, EIO, true);
        live(faulty, false);
        reached = faulty.has_failed();
        auto log = open(files_);
        ASSERT_NE(log, nullptr) << call;
        ASSERT_TRUE(log->unseal(std::make_unique<BoxKeys>(box_))) << call;
        ASSERT_TRUE(log->append(sample_record(1)));
        EXPECT_GE(log->state().records, acknowledged_.size() + 1);
        ASSERT_TRUE(log->close());
        AuditVerifyOptions options;
        options.folder = folder_->path();
        options.mac_key = box_.first_mac_key;
        const auto verdict = verify_audit(options, files_);
        ASSERT_TRUE(verdict && verdict->ok) << call << ": " << verdict->problem;
    }
}

// The start itself may crash at any call, also while it cuts a torn record.
TEST_F(AuditLogFaultTest, ACrashAtEveryCallOfARepairingStart) {
    std::uint64_t call = 0;
    for (bool reached = true; reached;) {
        restore_template();
        {
            auto log = open(files_);
            append(*log, 2);
        }
        const Bytes wal = audit_test::read_all(*folder_ / "wal/000");
        audit_test::write_all(*folder_ / "wal/000", ByteSpan(wal).first(wal.size() - 7));
        acknowledged_.pop_back();
        FaultyFiles faulty(files_);
        faulty.fail_at(++call, EIO, true);
        auto log = open(faulty);
        log.reset();
        reached = faulty.has_failed();
        ASSERT_NO_FATAL_FAILURE(expect_whole(call, "start"));
        const Bytes after = audit_test::read_all(*folder_ / "wal/000");
        EXPECT_NE(as_text(after).find("audit:cut"), std::string_view::npos) << call;
    }
    EXPECT_GT(call, 20U);
}

}  // namespace
}  // namespace ostal::security
