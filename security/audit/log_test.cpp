#include "security/audit/log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "security/audit/layout.h"
#include "security/audit/note.h"
#include "security/audit/test_support.h"
#include "security/audit/verify.h"
#include "security/crypto/merkle.h"

namespace ostal::security {
namespace {

using audit_test::BoxKeys;
using audit_test::KeyBox;
using audit_test::options_of;
using audit_test::sample_record;
using audit_test::TempFolder;

class AuditLogTest : public testing::Test {
protected:
    std::unique_ptr<AuditLog> open() { return open_with(options_of(folder_.path())); }
    std::unique_ptr<AuditLog> open_with(const AuditLog::Options& options) {
        auto log = AuditLog::open(options, files_, clock_, sink_);
        EXPECT_TRUE(log) << log.error().to_string();
        return log ? std::move(*log) : nullptr;
    }
    Status unseal(AuditLog& log) { return log.unseal(std::make_unique<BoxKeys>(box_)); }
    AuditVerdict verify() {
        AuditVerifyOptions options;
        options.folder = folder_.path();
        options.mac_key = box_.first_mac_key;
        auto verdict = verify_audit(options, posix_);
        EXPECT_TRUE(verdict) << verdict.error().to_string();
        return verdict ? *verdict : AuditVerdict{};
    }
    // Why an open is refused; "" when it is not.
    std::string refusal() {
        auto log = AuditLog::open(options_of(folder_.path()), files_, clock_, sink_);
        if (log) return "";
        EXPECT_EQ(log.error().code(), Code::kIntegrity);
        return log.error().message();
    }
    void append(AuditLog& log, std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) ASSERT_TRUE(log.append(sample_record(i)));
    }

    TempFolder folder_;
    audit_test::UnsyncedFiles posix_;
    FaultyFiles files_{posix_};
    ManualClock clock_;
    NullLog sink_;
    KeyBox box_;
};

TEST_F(AuditLogTest, RecordsAreDurableChainedAndSigned) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    log->set_approvals_required(1);
    append(*log, 300);
    EXPECT_EQ(log->state().records, 300U);
    const auto texts = log->read(0, 1000);
    ASSERT_TRUE(texts);
    ASSERT_EQ(texts->size(), 300U);
    Digest32 prev{};
    for (std::uint64_t i = 0; i < 300; ++i) {
        const auto stored = parse_record((*texts)[i]);
        ASSERT_TRUE(stored);
        EXPECT_EQ(stored->seq, i);
        EXPECT_EQ(stored->prev, prev);
        EXPECT_EQ(stored->approvals, 1U);
        EXPECT_EQ(stored->time_us, clock_.wall_now_us());
        prev = merkle_leaf(as_bytes((*texts)[i]));
    }
    EXPECT_EQ(log->read(250, 10)->size(), 10U);
    EXPECT_EQ(log->read(299, 10)->size(), 1U);
    EXPECT_TRUE(log->read(300, 10)->empty());
    ASSERT_TRUE(log->close());
    const AuditVerdict verdict = verify();
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_EQ(verdict.checkpoint_size, 300U);
    EXPECT_TRUE(posix_.info(folder_ / "tile/entries/000"));
    EXPECT_TRUE(posix_.info(folder_ / "tile/0/000"));
    EXPECT_TRUE(posix_.info(folder_ / "wal/001"));
    EXPECT_FALSE(posix_.info(folder_ / "wal/000"));
}

TEST_F(AuditLogTest, CheckpointsComeByTimeAndByNumber) {
    auto options = options_of(folder_.path());
    options.checkpoint_records = 10;
    auto log = open_with(options);
    ASSERT_TRUE(unseal(*log));
    append(*log, 9);
    ASSERT_TRUE(log->tick());
    EXPECT_EQ(log->state().checkpoint_size, 0U);
    append(*log, 1);
    ASSERT_TRUE(log->tick());
    EXPECT_EQ(log->state().checkpoint_size, 10U);
    append(*log, 1);
    clock_.advance_us(999'999);
    ASSERT_TRUE(log->tick());
    EXPECT_EQ(log->state().checkpoint_size, 10U);
    clock_.advance_us(1);
    ASSERT_TRUE(log->tick());
    EXPECT_EQ(log->state().checkpoint_size, 11U);
    const std::uint64_t evolved = box_.counter;
    clock_.advance_us(5'000'000);
    ASSERT_TRUE(log->tick());  // the tree did not grow
    EXPECT_EQ(box_.counter, evolved);
    EXPECT_EQ(evolved, 2U);
}

TEST_F(AuditLogTest, SealedRecordsWaitForTheFirstCheckpoint) {
    auto log = open();
    append(*log, 520);
    clock_.advance_us(10'000'000);
    ASSERT_TRUE(log->tick());
    ASSERT_TRUE(log->close());
    EXPECT_FALSE(posix_.info(folder_ / "checkpoint"));
    EXPECT_FALSE(posix_.info(folder_ / "mac"));
    log = open();
    append(*log, 1);
    ASSERT_TRUE(unseal(*log));
    EXPECT_EQ(log->state().checkpoint_size, 521U);
    ASSERT_TRUE(log->seal(sample_record(999)));
    EXPECT_TRUE(log->state().sealed);
    EXPECT_EQ(log->state().checkpoint_size, 522U);
    append(*log, 1);
    ASSERT_TRUE(log->close());
    AuditVerdict verdict = verify();
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_EQ(verdict.checkpoint_size, 522U);
    EXPECT_EQ(verdict.records, 523U);
    log = open();
    ASSERT_TRUE(unseal(*log));
    ASSERT_TRUE(log->close());
    verdict = verify();
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_EQ(verdict.checkpoint_size, 523U);
}

TEST_F(AuditLogTest, AnotherKeyOrAMissingCheckpointIsRefusedAtUnseal) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    append(*log, 3);
    ASSERT_TRUE(log->close());
    log = open();
    KeyBox other(2);
    EXPECT_EQ(log->unseal(std::make_unique<BoxKeys>(other)).error().code(), Code::kIntegrity);
    EXPECT_TRUE(log->state().sealed);
    ASSERT_TRUE(log->close());
    for (const char* name : {"checkpoint", "mac"}) ASSERT_TRUE(posix_.remove_file(folder_ / name));
    log = open();
    EXPECT_EQ(unseal(*log).error().code(), Code::kIntegrity);
}

TEST_F(AuditLogTest, ManyThreadsShareWritesAndNothingIsLost) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    std::atomic<int> acknowledged{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
            for (std::uint64_t i = 0; i < 100; ++i) {
                if (log->append(sample_record(i))) ++acknowledged;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(acknowledged, 800);
    ASSERT_TRUE(log->close());
    const AuditVerdict verdict = verify();
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_EQ(verdict.records, 800U);
}

TEST_F(AuditLogTest, AFailedWriteLatchesUntilRecovery) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    append(*log, 5);
    files_.fail_at(1, ENOSPC, true);  // the disk stays full
    const auto failed = log->append(sample_record(5));
    ASSERT_FALSE(failed);
    EXPECT_TRUE(log->state().latched);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(log->append(sample_record(6)).error().code(), Code::kNoSpace);
    EXPECT_FALSE(log->append(sample_record(6), AuditLog::Urgency::kEssential));
    EXPECT_FALSE(log->recover());
    EXPECT_TRUE(log->state().latched);
    files_.fail_at(0, 0, false);                                              // room again
    EXPECT_EQ(log->append(sample_record(6)).error().code(), Code::kNoSpace);  // recovery is asked for
    ASSERT_TRUE(log->append(sample_record(7), AuditLog::Urgency::kEssential));
    EXPECT_FALSE(posix_.info(folder_ / "reserve"));  // given up for it
    EXPECT_TRUE(log->state().latched);
    ASSERT_TRUE(log->recover());
    EXPECT_TRUE(posix_.info(folder_ / "reserve"));
    EXPECT_FALSE(log->state().latched);
    append(*log, 1);
    const auto texts = log->read(0, 100).value();
    ASSERT_EQ(texts.size(), 8U);
    EXPECT_EQ(parse_record(texts[5])->record.id, "req_7");
    EXPECT_EQ(parse_record(texts[6])->record.action, "audit:recover");
    ASSERT_TRUE(log->close());
    EXPECT_TRUE(verify().ok);
}

TEST_F(AuditLogTest, SealWorksOnAFullDiskWithTheReserve) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    append(*log, 5);
    files_.fail_at(1, ENOSPC, false);
    EXPECT_EQ(log->append(sample_record(5)).error().code(), Code::kNoSpace);
    ASSERT_TRUE(log->seal(sample_record(6)));
    EXPECT_TRUE(log->state().sealed);
    EXPECT_EQ(log->state().checkpoint_size, 6U);
    ASSERT_FALSE(log->close());  // still latched: said, not hidden
    EXPECT_TRUE(verify().ok);
}

TEST_F(AuditLogTest, AFailingKeystoreLatchesAndTheLogStaysVerifiable) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    append(*log, 3);
    box_.fail_store = true;
    EXPECT_FALSE(log->checkpoint());
    EXPECT_TRUE(log->state().latched);
    EXPECT_FALSE(log->append(sample_record(1)));
    box_.fail_store = false;
    ASSERT_TRUE(log->recover());
    append(*log, 3);
    ASSERT_TRUE(log->close());
    const AuditVerdict verdict = verify();
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_EQ(verdict.records, 7U);
}

TEST_F(AuditLogTest, ATornTailIsCutAndTheCutIsRecorded) {
    auto log = open();
    ASSERT_TRUE(unseal(*log));
    append(*log, 5);
    ASSERT_TRUE(log->seal(sample_record(5)));
    append(*log, 2);
    ASSERT_TRUE(log->close());
    log.reset();
    const Bytes whole = audit_test::read_all(folder_ / "wal/000");
    const Frames frames = split_frames(whole);
    ASSERT_EQ(frames.records.size(), 8U);
    // Any cut within the last record.
    const std::size_t last = whole.size() - frames.records.back().size() - 2;
    for (const std::size_t cut : {last + 1, last + 2, last + 50, whole.size() - 1}) {
        audit_test::write_all(folder_ / "wal/000", ByteSpan(whole).first(cut));
        log = open();
        ASSERT_NE(log, nullptr);
        EXPECT_EQ(log->state().cut_bytes, cut - last);
        const auto texts = log->read(0, 100).value();
        ASSERT_EQ(texts.size(), 8U);
        EXPECT_EQ(parse_record(texts[7])->record.action, "audit:cut");
        ASSERT_TRUE(log->close());
        log.reset();
        EXPECT_TRUE(verify().ok) << verify().problem;
    }
    // Zeros after it, as when the file grew before its content came.
    Bytes grown = whole;
    grown.resize(whole.size() + 4096);
    audit_test::write_all(folder_ / "wal/000", grown);
    log = open();
    EXPECT_EQ(log->state().records, 9U);
    EXPECT_EQ(log->state().cut_bytes, 4096U);
}

TEST_F(AuditLogTest, DamageUnderTheCheckpointIsRefusedAtStart) {
    audit_test::make_log(folder_.path(), 600, box_);
    EXPECT_EQ(refusal(), "");
    const Bytes wal = audit_test::read_all(folder_ / "wal/002");
    audit_test::write_all(folder_ / "wal/002", ByteSpan(wal).first(wal.size() - 1));
    EXPECT_NE(refusal(), "");
    Bytes changed = wal;
    changed[wal.size() / 2] ^= 1;
    audit_test::write_all(folder_ / "wal/002", changed);
    EXPECT_NE(refusal(), "");
    audit_test::write_all(folder_ / "wal/002", wal);
    EXPECT_EQ(refusal(), "");

    for (const char* name : {"wal/002", "log.vkey", "mac", "tile/0/001", "tile/0/000"}) {
        const Bytes kept = audit_test::read_all(folder_ / name);
        ASSERT_TRUE(posix_.remove_file(folder_ / name));
        EXPECT_NE(refusal(), "") << name;
        audit_test::write_all(folder_ / name, kept);
    }
    Bytes checkpoint = audit_test::read_all(folder_ / "checkpoint");
    for (std::size_t i = 0; i < checkpoint.size(); ++i) {
        checkpoint[i] ^= 1;
        audit_test::write_all(folder_ / "checkpoint", checkpoint);
        EXPECT_NE(refusal(), "") << i;
        checkpoint[i] ^= 1;
    }
    audit_test::write_all(folder_ / "checkpoint", checkpoint);
    audit_test::write_all(folder_ / "tile/entries/003", Bytes(10));
    EXPECT_NE(refusal(), "");
    ASSERT_TRUE(posix_.remove_file(folder_ / "tile/entries/003"));
    audit_test::write_all(folder_ / "wal/003", Bytes());
    EXPECT_NE(refusal(), "");
    ASSERT_TRUE(posix_.remove_file(folder_ / "wal/003"));
    EXPECT_EQ(refusal(), "");
}

TEST_F(AuditLogTest, ALogWithoutItsCheckpointAndTailIsSeenByTheMacs) {
    audit_test::make_log(folder_.path(), 20, box_);
    ASSERT_TRUE(posix_.remove_file(folder_ / "checkpoint"));
    const Bytes wal = audit_test::read_all(folder_ / "wal/000");
    const Frames frames = split_frames(wal);
    audit_test::write_all(folder_ / "wal/000", ByteSpan(wal).first(frames.records[0].size() + 2));
    EXPECT_NE(refusal(), "");
}

TEST_F(AuditLogTest, AnInterruptedRenameIsFinished) {
    audit_test::make_log(folder_.path(), 256, box_);
    ASSERT_TRUE(posix_.rename(folder_ / "tile/entries/000", folder_ / "wal/000"));
    auto log = open();
    ASSERT_NE(log, nullptr);
    EXPECT_EQ(log->state().records, 256U);
    EXPECT_TRUE(posix_.info(folder_ / "tile/entries/000"));
    append(*log, 1);
    ASSERT_TRUE(unseal(*log));
    ASSERT_TRUE(log->close());
    EXPECT_TRUE(verify().ok);
}

TEST_F(AuditLogTest, NothingIsTakenAfterClose) {
    auto log = open();
    ASSERT_TRUE(log->close());
    ASSERT_TRUE(log->close());
    EXPECT_EQ(log->append(sample_record(0)).error().code(), Code::kUnavailable);
    EXPECT_EQ(log->append(sample_record(0), AuditLog::Urgency::kEssential).error().code(),
              Code::kUnavailable);
    EXPECT_EQ(log->checkpoint().error().code(), Code::kUnavailable);
}

TEST_F(AuditLogTest, WhatClientsSendCannotForgeALine) {
    auto log = open();
    AuditRecord record = sample_record(0);
    record.object = "x\n{\"action\":\"forged\"}\x1b[2J\xE2\x80\xAE" + std::string(65'536, 'y');
    ASSERT_TRUE(log->append(record));
    const auto texts = log->read(0, 10).value();
    ASSERT_EQ(texts.size(), 1U);
    EXPECT_EQ(texts[0].find('\n'), std::string::npos);
    EXPECT_EQ(texts[0].find('\x1b'), std::string::npos);
    EXPECT_EQ(texts[0].find("\xE2\x80\xAE"), std::string::npos);
    EXPECT_LE(texts[0].size(), 2048U);
    EXPECT_TRUE(parse_record(texts[0]));
}

}  // namespace
}  // namespace ostal::security
