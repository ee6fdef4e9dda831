#include "security/storage/database.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <thread>

#include "security/storage/faulty_vfs.h"

namespace ostal::security {
namespace {

constexpr Migration kOne{1, 1, "CREATE TABLE t(id BLOB PRIMARY KEY, n INTEGER, name TEXT UNIQUE) STRICT;"};
constexpr Migration kTwo{
    2, 1, "ALTER TABLE t ADD COLUMN extra INTEGER; CREATE TABLE u(n INTEGER NOT NULL) STRICT;"};
constexpr Migration kTwoBreaking{2, 2, "CREATE TABLE u(n INTEGER NOT NULL) STRICT;"};
constexpr Migration kTwoWrong{2, 1,
                              "CREATE TABLE u(n INTEGER NOT NULL) STRICT; INSERT INTO nowhere VALUES (1);"};

class DatabaseTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ostal_database_XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::string path() const { return join_path(folder_, "test.db"); }
    Result<std::unique_ptr<Database>> open(std::span<const Migration> migrations) {
        return Database::open(files_, clock_, {path(), migrations, folder_, 200});
    }
    std::unique_ptr<Database> open_one() { return open(migrations_one_).value(); }
    static Status insert(Database& database, std::int64_t n, const std::string& name) {
        OSTAL_TRY(Transaction tx, database.begin_write());
        OSTAL_TRYV(
            tx.execute("INSERT INTO t(id, n, name) VALUES (?,?,?)", {Bytes{1, 2, std::uint8_t(n)}, n, name}));
        return tx.commit();
    }
    static std::int64_t count(Database& database) {
        Transaction tx = database.begin_read().value();
        return std::get<0>(tx.query_one<std::int64_t>("SELECT count(*) FROM t").value().value());
    }

    FaultyVfs vfs_;  // before everything that holds a database
    std::string folder_;
    PosixFiles files_;
    ManualClock clock_;
    const std::array<Migration, 1> migrations_one_{kOne};
    const std::array<Migration, 2> migrations_two_{kOne, kTwo};
};

TEST_F(DatabaseTest, ValuesComeBackAsTheyWere) {
    const auto database = open_one();
    const std::array<std::uint8_t, 4> id{0, 1, 0, 255};
    const std::string text("a\0b\xc3\xa9", 5);
    {
        Transaction tx = database->begin_write().value();
        EXPECT_EQ(tx.execute("INSERT INTO t(id, n, name) VALUES (?,?,?)", {id, INT64_MIN, text}).value(), 1);
        EXPECT_EQ(
            tx.execute("INSERT INTO t(id, n, name) VALUES (?,?,?)", {Bytes{}, nullptr, nullptr}).value(), 1);
        ASSERT_TRUE(tx.commit());
    }
    Transaction tx = database->begin_read().value();
    using Row = std::tuple<Bytes, std::optional<std::int64_t>, std::optional<std::string>>;
    const auto rows = tx.query<Bytes, std::optional<std::int64_t>, std::optional<std::string>>(
                            "SELECT id, n, name FROM t ORDER BY id")
                          .value();
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0], Row(Bytes{}, std::nullopt, std::nullopt));
    EXPECT_EQ(rows[1], Row(Bytes(id.begin(), id.end()), INT64_MIN, text));
    const auto one = tx.query_one<std::array<std::uint8_t, 4>>("SELECT id FROM t WHERE n = ?", {INT64_MIN});
    EXPECT_EQ(std::get<0>(**one), id);
    EXPECT_FALSE(tx.query_one<Bytes>("SELECT id FROM t WHERE n = 7").value());
    // Other types, lengths and numbers of rows than asked for.
    EXPECT_EQ(tx.query<std::int64_t>("SELECT id FROM t").error().code(), Code::kIntegrity);
    EXPECT_EQ(tx.query<std::string>("SELECT n FROM t").error().code(), Code::kIntegrity);
    EXPECT_EQ(tx.query<std::int64_t>("SELECT n FROM t").error().code(), Code::kIntegrity);  // a NULL
    EXPECT_EQ((tx.query<std::array<std::uint8_t, 16>>("SELECT id FROM t").error().code()), Code::kIntegrity);
    EXPECT_EQ(tx.query_one<Bytes>("SELECT id FROM t").error().code(), Code::kIntegrity);
}

TEST_F(DatabaseTest, ParametersAreNeverSql) {
    const auto database = open_one();
    const std::string nasty = "'); DROP TABLE t; --";
    ASSERT_TRUE(insert(*database, 1, nasty));
    Transaction tx = database->begin_read().value();
    EXPECT_EQ(std::get<0>(**tx.query_one<std::string>("SELECT name FROM t WHERE name = ?", {nasty})), nasty);
}

TEST_F(DatabaseTest, RollsBackWithoutCommitAndAfterFailure) {
    const auto database = open_one();
    {
        Transaction tx = database->begin_write().value();
        ASSERT_TRUE(tx.execute("INSERT INTO t(id, n, name) VALUES (?,?,?)", {Bytes{1}, 1, "x"}));
    }
    EXPECT_EQ(count(*database), 0);
    ASSERT_TRUE(insert(*database, 1, "x"));
    EXPECT_EQ(insert(*database, 2, "x").error().code(), Code::kConflict);  // UNIQUE
    {
        Transaction tx = database->begin_write().value();
        const auto wrong_type =
            tx.execute("INSERT INTO t(id, n, name) VALUES (?,?,?)", {Bytes{1}, "text", "y"});
        EXPECT_EQ(wrong_type.error().code(), Code::kConflict);  // STRICT
    }
    EXPECT_EQ(count(*database), 1);
}

TEST_F(DatabaseTest, IsHardened) {
    const auto database = open_one();
    EXPECT_EQ(files_.info(path())->mode, 0600U);
    EXPECT_EQ(files_.info(path() + "-wal")->mode, 0600U);
    EXPECT_EQ(files_.info(path() + "-shm")->mode, 0600U);
    Transaction tx = database->begin_write().value();
    const auto number = [&](const char* pragma) {
        return std::get<0>(**tx.query_one<std::int64_t>(std::string("PRAGMA ") + pragma));
    };
    EXPECT_EQ(std::get<0>(**tx.query_one<std::string>("PRAGMA journal_mode")), "wal");
    EXPECT_EQ(number("synchronous"), 2);
    EXPECT_EQ(number("foreign_keys"), 1);
    EXPECT_EQ(number("trusted_schema"), 0);
    EXPECT_EQ(number("secure_delete"), 1);
    EXPECT_EQ(number("cell_size_check"), 1);
    EXPECT_FALSE(tx.execute("PRAGMA writable_schema = ON") &&
                 tx.execute("UPDATE sqlite_schema SET sql = 'x'"));
    EXPECT_FALSE(tx.query<std::int64_t>("SELECT load_extension('x')"));
    EXPECT_FALSE(tx.query<std::string>("SELECT \"no such column\""));
    EXPECT_FALSE(tx.execute("ATTACH DATABASE ':memory:' AS other"));
}

TEST_F(DatabaseTest, ReadersCannotWriteAndSeeWhatIsCommitted) {
    const auto database = open_one();
    ASSERT_TRUE(insert(*database, 1, "a"));
    Transaction reader = database->begin_read().value();
    EXPECT_EQ(reader.query<Bytes>("SELECT id FROM t")->size(), 1U);
    std::thread([&] { EXPECT_TRUE(insert(*database, 2, "b")); }).join();  // not blocked by the reader
    EXPECT_EQ(reader.query<Bytes>("SELECT id FROM t")->size(), 1U);       // its own snapshot
    EXPECT_EQ(count(*database), 2);
    EXPECT_FALSE(reader.query<Bytes>("INSERT INTO t(id) VALUES (x'00') RETURNING id"));
}

TEST_F(DatabaseTest, WritersTakeTurns) {
    const auto database = open_one();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                const int n = t * 25 + i;
                EXPECT_TRUE(insert(*database, n, std::to_string(n)));
                EXPECT_GT(count(*database), 0);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(count(*database), 100);
}

TEST_F(DatabaseTest, NestedWriteIsOurBug) {
    const auto database = open_one();
    EXPECT_DEATH(
        {
            Transaction one = database->begin_write().value();
            (void)database->begin_write();
        },
        "writing_thread");
}

TEST_F(DatabaseTest, MigratesOnceWithASnapshotBefore) {
    {
        const auto database = open_one();
        EXPECT_EQ(database->schema_version(), 1);
        ASSERT_TRUE(insert(*database, 1, "kept"));
    }
    for (int round = 0; round < 2; ++round) {
        const auto database = open(migrations_two_).value();
        EXPECT_EQ(database->schema_version(), 2);
        EXPECT_EQ(count(*database), 1);
        Transaction tx = database->begin_read().value();
        EXPECT_EQ(tx.query<std::int64_t>("SELECT n FROM u")->size(), 0U);
        const auto rows = tx.query<std::int64_t, std::int64_t, std::int64_t>(
            "SELECT version, min_reader, applied_us FROM schema");
        ASSERT_EQ(rows->size(), 2U);
        EXPECT_EQ(std::get<2>(rows->at(1)), clock_.wall_now_us());
    }
    const std::string snapshot = join_path(folder_, "test.db.before-2");
    EXPECT_EQ(files_.info(snapshot)->mode, 0600U);
    const auto old = Database::open(files_, clock_, {snapshot, migrations_one_, "", 200});
    ASSERT_TRUE(old) << old.error().to_string();
    EXPECT_EQ((*old)->schema_version(), 1);
    EXPECT_EQ(count(**old), 1);
}

TEST_F(DatabaseTest, AFailedMigrationChangesNothing) {
    { ASSERT_TRUE(insert(*open_one(), 1, "kept")); }
    const std::array<Migration, 2> wrong{kOne, kTwoWrong};
    EXPECT_FALSE(open(wrong));
    const auto database = open_one();
    EXPECT_EQ(database->schema_version(), 1);
    EXPECT_EQ(count(*database), 1);
    EXPECT_FALSE(database->begin_read()->query<std::int64_t>("SELECT n FROM u"));
}

TEST_F(DatabaseTest, NewerSchemas) {
    ASSERT_TRUE(open(migrations_two_));
    EXPECT_EQ(open_one()->schema_version(), 2);  // min_reader 1: the older program may go on
    std::filesystem::remove(path());
    const std::array<Migration, 2> breaking{kOne, kTwoBreaking};
    ASSERT_TRUE(open(breaking));
    const auto refused = open(migrations_one_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kUnsupported);
}

TEST_F(DatabaseTest, DamageIsIntegrity) {
    {
        const auto database = open_one();
        for (int i = 0; i < 200; ++i)
            ASSERT_TRUE(insert(*database, i, std::string(50, 'x') + std::to_string(i)));
        ASSERT_TRUE(database->truncate_wal());
    }
    Bytes good = read_file(files_, path(), 1 << 20).value();
    Bytes bad = good;
    for (std::size_t i = 4096; i < bad.size(); i += 3) bad[i] = 0xa5;
    ASSERT_TRUE(replace_file(files_, path(), bad));
    EXPECT_EQ(open(migrations_one_).error().code(), Code::kIntegrity);
    ASSERT_TRUE(replace_file(files_, path(), Bytes(8192, 0x41)));
    EXPECT_EQ(open(migrations_one_).error().code(), Code::kIntegrity);
    ASSERT_TRUE(replace_file(files_, path(), good));
    EXPECT_EQ(count(*open_one()), 200);
}

TEST_F(DatabaseTest, ASymbolicLinkIsRefused) {
    { ASSERT_TRUE(open(migrations_one_)); }
    std::filesystem::rename(path(), path() + ".real");
    std::filesystem::create_symlink(path() + ".real", path());
    EXPECT_FALSE(open(migrations_one_));
}

TEST_F(DatabaseTest, DeletedContentIsGoneFromFileAndLog) {
    const auto database = open_one();
    const std::string canary = "a canary that must not stay anywhere";
    const auto found = [&] {
        bool any = false;
        for (const char* suffix : {"", "-wal", "-shm"}) {
            const Bytes bytes = read_file(files_, path() + suffix, 64 << 20).value();
            any = any || as_text(bytes).find(canary) != std::string_view::npos;
        }
        return any;
    };
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(insert(*database, i, "other " + std::to_string(i)));
    ASSERT_TRUE(insert(*database, 100, canary));
    EXPECT_TRUE(found());
    {
        Transaction tx = database->begin_write().value();
        ASSERT_TRUE(tx.execute("DELETE FROM t WHERE n = 100"));
        ASSERT_TRUE(tx.commit());
    }
    ASSERT_TRUE(database->truncate_wal());
    EXPECT_FALSE(found());
}

TEST_F(DatabaseTest, TruncationWaitsForReadersOnlySoLong) {
    const auto database = open_one();
    ASSERT_TRUE(insert(*database, 1, "x"));
    Transaction reader = database->begin_read().value();
    ASSERT_TRUE(reader.query<Bytes>("SELECT id FROM t"));
    std::thread([&] {
        EXPECT_TRUE(insert(*database, 2, "y"));
        EXPECT_EQ(database->truncate_wal().error().code(), Code::kUnavailable);
    }).join();
}

TEST_F(DatabaseTest, CopyIsWhole) {
    const auto database = open_one();
    ASSERT_TRUE(insert(*database, 1, "x"));
    const std::string copy = join_path(folder_, "copy.db");
    ASSERT_TRUE(database->copy_to(copy));
    EXPECT_EQ(files_.info(copy)->mode, 0600U);
    EXPECT_EQ(database->copy_to(copy).error().code(), Code::kConflict);
    const auto again = Database::open(files_, clock_, {copy, migrations_one_, "", 200}).value();
    EXPECT_EQ(count(*again), 1);
}

TEST_F(DatabaseTest, FullDiskIsNoSpaceAndLosesNothing) {
    const auto database = open_one();
    ASSERT_TRUE(insert(*database, 1, "before"));
    vfs_.fail_at(1, true, false);
    EXPECT_EQ(insert(*database, 2, "during").error().code(), Code::kNoSpace);
    vfs_.heal();
    EXPECT_EQ(count(*database), 1);
    EXPECT_TRUE(insert(*database, 3, "after"));
    EXPECT_EQ(count(*database), 2);
}

// What failed while the program ran does not come about by a crash after it: the files at that moment, as a start
// after SIGKILL finds them, hold the old state wherever the failure was reported, and the new one after a success.
TEST_F(DatabaseTest, AFailedCommitIsNotFoundAfterACrash) {
    const std::string copy = path() + ".copy";
    std::uint64_t failures = 0;
    for (std::uint64_t call = 1;; ++call) {
        for (const char* suffix : {"", "-wal", "-shm"}) {
            std::filesystem::remove(path() + suffix);
            std::filesystem::remove(copy + suffix);
        }
        { ASSERT_TRUE(insert(*open_one(), 1, "before")); }
        const auto database = open_one();
        vfs_.fail_at(call, false, false);
        const bool inserted = insert(*database, 2, "during").has_value();
        const bool failed = vfs_.has_failed();
        vfs_.heal();
        for (const char* suffix : {"", "-wal"}) {
            if (std::filesystem::exists(path() + suffix)) std::filesystem::copy_file(path() + suffix, copy + suffix);
        }
        const auto after_crash = Database::open(files_, clock_, {copy, migrations_one_, folder_, 200});
        ASSERT_TRUE(after_crash) << after_crash.error().to_string();
        EXPECT_EQ(count(**after_crash), inserted ? 2 : 1) << call;
        EXPECT_EQ(count(*database), inserted ? 2 : 1) << call;
        EXPECT_TRUE(insert(*database, 3, "after")) << call;
        failures += inserted ? 0 : 1;
        if (!failed) break;
    }
    EXPECT_GT(failures, 2U);
}

// Both rows of a transaction or none, at every call that could fail, with and without a crash.
TEST_F(DatabaseTest, TransactionsAreWholeUnderAFaultAtEveryCall) {
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path() + suffix);
            { ASSERT_TRUE(insert(*open_one(), 1, "before")); }
            vfs_.fail_at(call, false, crash);
            bool committed = false;
            if (auto database = open(migrations_one_); database) {
                const auto work = [&]() -> Status {
                    OSTAL_TRY(Transaction tx, (*database)->begin_write());
                    OSTAL_TRYV(tx.execute("INSERT INTO t(id, n, name) VALUES (x'aa', 2, 'two')"));
                    OSTAL_TRYV(tx.execute("INSERT INTO t(id, n, name) VALUES (x'bb', 3, ?)",
                                          {std::string(20'000, 'z')}));
                    return tx.commit();
                };
                committed = work().has_value();
            }
            const bool failed = vfs_.has_failed();
            vfs_.heal();
            const auto database = open(migrations_one_);
            ASSERT_TRUE(database) << database.error().to_string();
            const std::int64_t rows = count(**database);
            EXPECT_TRUE(rows == 1 || rows == 3) << "call " << call << ": " << rows;
            if (committed) {
                EXPECT_EQ(rows, 3) << call;
            }
            if (!failed) {
                EXPECT_TRUE(committed);
                EXPECT_GT(call, 5U);
                break;
            }
        }
    }
}

TEST_F(DatabaseTest, MigrationsAreWholeUnderACrashAtEveryCall) {
    for (std::uint64_t call = 1;; ++call) {
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directory(folder_);
        { ASSERT_TRUE(insert(*open_one(), 1, "before")); }
        vfs_.fail_at(call, false, true);
        const bool opened = open(migrations_two_).has_value();
        const bool failed = vfs_.has_failed();
        vfs_.heal();
        {
            const auto old = open_one();
            EXPECT_TRUE(old->schema_version() == 1 || old->schema_version() == 2);
        }
        const auto database = open(migrations_two_);
        ASSERT_TRUE(database) << database.error().to_string();
        EXPECT_EQ((*database)->schema_version(), 2);
        EXPECT_EQ(count(**database), 1);
        if (!failed) {
            EXPECT_TRUE(opened);
            EXPECT_GT(call, 5U);
            break;
        }
    }
}

}  // namespace
}  // namespace ostal::security
