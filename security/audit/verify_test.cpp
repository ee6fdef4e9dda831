#include "security/audit/verify.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/json.h"
#include "security/audit/layout.h"
#include "security/audit/note.h"
#include "security/audit/record.h"
#include "security/audit/test_support.h"
#include "security/crypto/merkle.h"

namespace ostal::security {
namespace {

using audit_test::BoxKeys;
using audit_test::KeyBox;
using audit_test::make_log;
using audit_test::read_all;
using audit_test::TempFolder;
using audit_test::write_all;

constexpr std::uint64_t kRecords = 600;  // two closed bundles and 88 records in the open one

// One log for all tests; each puts back what it changes.
class AuditVerifyTest : public testing::Test {
protected:
    static void SetUpTestSuite() {
        folder_ = new TempFolder;
        box_ = new KeyBox;
        make_log(folder_->path(), kRecords, *box_);
    }
    static void TearDownTestSuite() {
        delete folder_;
        delete box_;
    }
    static std::string at(const std::string& name) { return *folder_ / name; }

    enum class With { kNothing, kMacs };
    AuditVerdict verify(With with = With::kNothing, const std::string& folder = folder_->path()) {
        AuditVerifyOptions options;
        options.folder = folder;
        if (with == With::kMacs) options.mac_key = box_->first_mac_key;
        auto verdict = verify_audit(options, files_);
        EXPECT_TRUE(verdict) << verdict.error().to_string();
        return verdict ? *verdict : AuditVerdict{};
    }
    // The verdict names `record`, or a range that holds it.
    static void expect_bad(const AuditVerdict& verdict, std::uint64_t record, bool exactly,
                           const std::string& what) {
        ASSERT_FALSE(verdict.ok) << what;
        if (verdict.first_bad || exactly) {
            EXPECT_EQ(verdict.first_bad, record) << what << ": " << verdict.problem;
        } else {
            EXPECT_TRUE(verdict.bad_from <= record && record < verdict.bad_to)
                << what << ": " << verdict.bad_from << ".." << verdict.bad_to << " " << verdict.problem;
        }
    }
    // Whose bytes `offset` of a bundle belong to.
    static std::uint64_t record_at(const std::string& name, ByteSpan bytes, std::size_t offset) {
        std::uint64_t record = std::stoull(name.substr(name.size() - 3)) * kTileWidth;
        std::size_t end = 0;
        for (const std::string_view text : split_frames(bytes).records) {
            end += 2 + text.size();
            if (offset < end) return record;
            ++record;
        }
        return record;
    }

    audit_test::UnsyncedFiles files_;
    static TempFolder* folder_;
    static KeyBox* box_;
};
TempFolder* AuditVerifyTest::folder_ = nullptr;
KeyBox* AuditVerifyTest::box_ = nullptr;

TEST_F(AuditVerifyTest, AWholeLogHolds) {
    const AuditVerdict verdict = verify(With::kMacs);
    EXPECT_TRUE(verdict.ok) << verdict.problem;
    EXPECT_TRUE(verdict.macs_checked);
    EXPECT_FALSE(verdict.authorship);
    EXPECT_EQ(verdict.records, kRecords);
    EXPECT_EQ(verdict.checkpoint_size, kRecords);
    const auto names = audit_test::files_below(folder_->path());
    EXPECT_EQ(names,
              (std::vector<std::string>{"checkpoint", "log.vkey", "mac", "reserve", "tile/0/000",
                                        "tile/0/001", "tile/entries/000", "tile/entries/001", "wal/002"}));
}

// Every byte of every file: found, and the record named is the one changed. By default the records are
// sampled (all bytes of three of them, and every 1021st byte elsewhere); OSTAL_EVERY_BYTE=1 changes all of
// them.
TEST_F(AuditVerifyTest, EveryChangedByteIsFoundAndNamed) {
    const bool every = std::getenv("OSTAL_EVERY_BYTE") != nullptr;
    for (const std::string& name : audit_test::files_below(folder_->path())) {
        const Bytes whole = read_all(at(name));
        const bool bundle = name.starts_with("wal/") || name.starts_with("tile/entries/");
        std::size_t tried = 0;
        for (std::size_t i = 0; i < whole.size(); ++i) {
            std::uint64_t record = 0;
            if (bundle) record = record_at(name, whole, i);
            const bool chosen = record == 300 || record == 512 || record == kRecords - 1;
            const bool small = !bundle && whole.size() < 4096;
            if (!every && !small && !(bundle && chosen) && i % 1021 != 0) continue;
            ++tried;
            Bytes changed = whole;
            changed[i] = static_cast<std::uint8_t>(changed[i] ^ (1U << (i % 8)));
            write_all(at(name), changed);
            const std::string what = name + " byte " + std::to_string(i);
            if (bundle) {
                // Without the MACs nothing stands against the last record but the root.
                expect_bad(verify(), record, record + 2 < kRecords && record != kRecords - 1, what);
                if (i % 31 == 0) expect_bad(verify(With::kMacs), record, true, what);
            } else if (name.starts_with("tile/0/")) {
                const std::uint64_t number = std::stoull(name.substr(7));
                expect_bad(verify(), number * kTileWidth + i / 32, true, what);
            } else if (name == "mac") {
                expect_bad(verify(With::kMacs), i / 32, true, what);
            } else {
                EXPECT_FALSE(verify().ok) << what;
            }
        }
        write_all(at(name), whole);
        RecordProperty("tried " + name, static_cast<int>(tried));
    }
    EXPECT_TRUE(verify(With::kMacs).ok);
}

TEST_F(AuditVerifyTest, EveryTruncationIsFound) {
    const bool every = std::getenv("OSTAL_EVERY_BYTE") != nullptr;
    for (const std::string& name : audit_test::files_below(folder_->path())) {
        const Bytes whole = read_all(at(name));
        const bool bundle = name.starts_with("wal/") || name.starts_with("tile/entries/");
        for (std::size_t size = 0; size < whole.size(); size += every || whole.size() < 4096 ? 1U : 8009U) {
            write_all(at(name), ByteSpan(whole).first(size));
            const std::string what = name + " cut to " + std::to_string(size);
            if (bundle)
                expect_bad(verify(), record_at(name, whole, size), true, what);
            else
                EXPECT_FALSE(verify().ok) << what;
        }
        write_all(at(name), whole);
    }
    EXPECT_TRUE(verify(With::kMacs).ok);
}

TEST_F(AuditVerifyTest, DeletedAddedAndSwappedFilesAreFound) {
    for (const std::string& name : audit_test::files_below(folder_->path())) {
        if (name == "reserve") continue;
        const Bytes whole = read_all(at(name));
        std::filesystem::remove(at(name));
        const AuditVerdict verdict = verify();
        EXPECT_FALSE(verdict.ok) << name;
        if (name.starts_with("tile/entries/") || name.starts_with("wal/")) {
            EXPECT_EQ(verdict.first_bad, std::stoull(name.substr(name.size() - 3)) * kTileWidth);
        }
        write_all(at(name), whole);
        for (const std::size_t extra : {1U, 7U, 400U}) {
            Bytes longer = whole;
            longer.resize(whole.size() + extra, 'x');
            write_all(at(name), longer);
            EXPECT_FALSE(verify().ok) << name << " + " << extra;
        }
        write_all(at(name), whole);
    }
    for (const char* name :
         {"wal/003", "wal/000", "wal/x", "tile/entries/002", "tile/entries/900", "tile/0/002",
          "tile/0/x001/000", "note", "tile/9/000", "tile/entries/1", "wal/002.old"}) {
        std::filesystem::create_directories(std::filesystem::path(at(name)).parent_path());
        write_all(at(name), as_bytes("\x00\x01x"));
        EXPECT_FALSE(verify().ok) << name;
        std::filesystem::remove(at(name));
    }
    std::filesystem::remove(at("tile/0/x001"));
    std::filesystem::remove(at("tile/9"));
    std::filesystem::create_symlink(at("mac"), at("link"));
    EXPECT_FALSE(verify().ok);
    std::filesystem::remove(at("link"));

    const auto swap_files = [&](const std::string& a, const std::string& b) {
        std::filesystem::rename(at(a), at("mac.swap"));
        std::filesystem::rename(at(b), at(a));
        std::filesystem::rename(at("mac.swap"), at(b));
    };
    swap_files("tile/entries/000", "tile/entries/001");
    EXPECT_EQ(verify().first_bad, 0U);
    swap_files("tile/entries/000", "tile/entries/001");
    swap_files("tile/0/000", "tile/0/001");
    EXPECT_EQ(verify().first_bad, 0U);
    swap_files("tile/0/000", "tile/0/001");
    EXPECT_TRUE(verify(With::kMacs).ok);
}

TEST_F(AuditVerifyTest, RecordsOutOfOrderAddedOrTakenAreNamed) {
    for (const std::string name : {"tile/entries/001", "wal/002"}) {
        const Bytes whole = read_all(at(name));
        const Frames frames = split_frames(whole);
        const std::uint64_t first = name == "wal/002" ? 512 : 256;
        const auto write_order = [&](const std::vector<std::string_view>& records) {
            Bytes bytes;
            for (const std::string_view record : records) append_frame(bytes, record);
            write_all(at(name), bytes);
        };
        std::vector<std::string_view> records = frames.records;
        std::swap(records[10], records[20]);
        write_order(records);
        expect_bad(verify(), first + 10, true, name + " swapped");
        expect_bad(verify(With::kMacs), first + 10, true, name + " swapped");
        records = frames.records;
        records.erase(records.begin() + 30);
        write_order(records);
        expect_bad(verify(), first + 30, true, name + " erased");
        records = frames.records;
        records.insert(records.begin() + 40, records[3]);
        write_order(records);
        expect_bad(verify(), first + 40, true, name + " inserted");
        records = frames.records;
        records[50] = records[49];
        write_order(records);
        expect_bad(verify(), first + 50, true, name + " repeated");
        write_all(at(name), whole);
    }
    EXPECT_TRUE(verify(With::kMacs).ok);
}

// All records from `from` on are written anew with a right chain: only root and MACs stand against that.
TEST_F(AuditVerifyTest, ARewrittenTailIsFoundAndTheMacsNameItsBeginning) {
    const Bytes whole = read_all(at("wal/002"));
    Bytes bytes;
    std::optional<Digest32> prev;
    for (const std::string_view text : split_frames(whole).records) {
        StoredRecord stored = parse_record(text).value();
        if (stored.seq == 540) stored.record.object = "something else";
        if (prev) stored.prev = *prev;
        const std::string again = encode_record(stored);
        append_frame(bytes, again);
        prev = merkle_leaf(as_bytes(again));
    }
    write_all(at("wal/002"), bytes);
    expect_bad(verify(), 540, false, "rewritten");
    expect_bad(verify(With::kMacs), 540, true, "rewritten");
    write_all(at("wal/002"), whole);
}

TEST_F(AuditVerifyTest, TwoFaultsAtOnceNameTheLower) {
    const Bytes entries = read_all(at("tile/entries/000"));
    const Bytes tile = read_all(at("tile/0/001"));
    Bytes changed = entries;
    changed[entries.size() / 2] ^= 1;
    const std::uint64_t record = record_at("tile/entries/000", entries, entries.size() / 2);
    write_all(at("tile/entries/000"), changed);
    Bytes changed_tile = tile;
    changed_tile[500] ^= 1;
    write_all(at("tile/0/001"), changed_tile);
    expect_bad(verify(), record, true, "record and tile");
    write_all(at("tile/entries/000"), entries);
    write_all(at("tile/0/001"), tile);
    EXPECT_TRUE(verify().ok);
}

TEST_F(AuditVerifyTest, TheKeyFromOutsideShowsAuthorship) {
    // The whole log made again with another key: consistent, but not by this author.
    TempFolder forged;
    KeyBox other(9);
    make_log(forged.path(), 10, other);
    EXPECT_TRUE(verify(With::kNothing, forged.path()).ok);
    AuditVerifyOptions options;
    options.folder = forged.path();
    options.verifier_key = std::string(as_text(read_all(at("log.vkey"))));
    EXPECT_FALSE(verify_audit(options, files_)->ok);
    options.folder = folder_->path();
    const auto verdict = verify_audit(options, files_);
    EXPECT_TRUE(verdict->ok) << verdict->problem;
    EXPECT_TRUE(verdict->authorship);
    options.verifier_key = "nonsense";
    EXPECT_FALSE(verify_audit(options, files_));
}

TEST_F(AuditVerifyTest, ACutBackLogIsFoundOnlyAgainstALaterCheckpoint) {
    TempFolder folder;
    KeyBox box;
    make_log(folder.path(), 300, box);
    const std::string later = std::string(as_text(read_all(folder / "checkpoint")));
    TempFolder early;
    std::filesystem::copy(
        folder.path(), early.path(),
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
    {
        ManualClock clock;
        NullLog sink;
        auto log = AuditLog::open(audit_test::options_of(folder.path()), files_, clock, sink).value();
        ASSERT_TRUE(log->unseal(std::make_unique<BoxKeys>(box)));
        for (std::uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(log->append(audit_test::sample_record(i)));
    }
    const std::string latest = std::string(as_text(read_all(folder / "checkpoint")));
    AuditVerifyOptions options;
    options.folder = folder.path();
    options.older_checkpoint = later;
    EXPECT_TRUE(verify_audit(options, files_)->ok);
    options.folder = early.path();  // what a thief puts back
    options.older_checkpoint.reset();
    EXPECT_TRUE(verify_audit(options, files_)->ok);
    options.older_checkpoint = latest;
    const auto verdict = verify_audit(options, files_);
    EXPECT_FALSE(verdict->ok);
    EXPECT_NE(verdict->problem.find("cut back"), std::string::npos);
    options.older_checkpoint = later.substr(1);
    EXPECT_FALSE(verify_audit(options, files_)->ok);
}

TEST_F(AuditVerifyTest, AForkIsNoExtension) {
    TempFolder fork;
    KeyBox box;  // the same keys, another history
    ManualClock clock(5'000'000);
    NullLog sink;
    {
        auto log = AuditLog::open(audit_test::options_of(fork.path()), files_, clock, sink).value();
        ASSERT_TRUE(log->unseal(std::make_unique<BoxKeys>(box)));
        for (std::uint64_t i = 0; i < 700; ++i) log->append(audit_test::sample_record(i), [](Status) {});
    }
    AuditVerifyOptions options;
    options.folder = fork.path();
    EXPECT_TRUE(verify_audit(options, files_)->ok);
    options.older_checkpoint = std::string(as_text(read_all(at("checkpoint"))));
    EXPECT_FALSE(verify_audit(options, files_)->ok);
}

TEST_F(AuditVerifyTest, AWrongMacKeyFailsAtTheFirstRecord) {
    AuditVerifyOptions options;
    options.folder = folder_->path();
    options.mac_key = Bytes(32, 1);
    EXPECT_EQ(verify_audit(options, files_)->first_bad, 0U);
    options.mac_key = Bytes(31, 1);
    EXPECT_FALSE(verify_audit(options, files_));
}

TEST_F(AuditVerifyTest, NoFolderIsAnErrorAndAnEmptyOneNoLog) {
    AuditVerifyOptions options;
    options.folder = at("nowhere");
    EXPECT_FALSE(verify_audit(options, files_));
    TempFolder empty;
    EXPECT_FALSE(verify(With::kNothing, empty.path()).ok);
}

}  // namespace
}  // namespace ostal::security
