#include "security/storage/keyring.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <functional>

#include "security/crypto/hash.h"
#include "security/storage/faulty_vfs.h"

namespace ostal::security {
namespace {

const std::string kOwner = "tenant/aaaa/user/bbbb/content";

class KeyringTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ostal_keyring_XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        options_.passphrase_cost = {1, 8 << 10};
        options_.passphrase_limits = {{1, 8 << 10}, {4, 1 << 20}};
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    static SlotSecret passphrase(std::string_view text) {
        return SlotSecret::passphrase(SecretBytes::copy_of(as_bytes(text)));
    }
    static SlotSecret key_file(std::uint8_t fill) {
        return SlotSecret::key_file(SecretBytes::copy_of(Bytes(32, fill)));
    }
    std::string database_path() const { return join_path(folder_, "db/keystore.db"); }
    Result<std::unique_ptr<Keyring>> create() {
        return Keyring::create({files_, clock_, random_}, folder_, passphrase("first"), "console", options_);
    }
    Result<std::unique_ptr<Keyring>> open() {
        return Keyring::open({files_, clock_, random_}, folder_, options_);
    }
    std::unique_ptr<Keyring> open_unsealed() {
        auto keyring = open().value();
        EXPECT_TRUE(keyring->unseal(passphrase("first")));
        return keyring;
    }
    void start_anew() {
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directory(folder_);
    }

    // Edits the closed database behind our back.
    void edit(const std::string& sql) {
        sqlite3* handle = nullptr;
        ASSERT_EQ(sqlite3_open(database_path().c_str(), &handle), SQLITE_OK);
        char* error = nullptr;
        EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
        sqlite3_close(handle);
    }
    std::vector<std::pair<std::int64_t, Bytes>> select_blobs(const std::string& sql) {
        sqlite3* handle = nullptr;
        EXPECT_EQ(sqlite3_open(database_path().c_str(), &handle), SQLITE_OK);
        sqlite3_stmt* statement = nullptr;
        EXPECT_EQ(sqlite3_prepare_v2(handle, sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
        std::vector<std::pair<std::int64_t, Bytes>> rows;
        while (sqlite3_step(statement) == SQLITE_ROW) {
            const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement, 1));
            rows.emplace_back(sqlite3_column_int64(statement, 0),
                              Bytes(bytes, bytes + sqlite3_column_bytes(statement, 1)));
        }
        sqlite3_finalize(statement);
        sqlite3_close(handle);
        return rows;
    }
    bool state_contains(ByteSpan needle) {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_)) {
            if (!entry.is_regular_file()) continue;
            const Bytes bytes = read_file(files_, entry.path(), 64 << 20).value();
            if (as_text(bytes).find(as_text(needle)) != std::string_view::npos) return true;
        }
        return false;
    }

    FaultyVfs vfs_;  // before everything that holds a database
    std::string folder_;
    PosixFiles files_;
    ManualClock clock_;
    SeededRandom random_{31};
    Keyring::Options options_;
};

TEST_F(KeyringTest, CreateSealUnseal) {
    Dek dek;
    Secret<32> meta;
    Id instance{};
    {
        const auto keyring = create().value();
        EXPECT_FALSE(keyring->is_sealed());
        instance = keyring->instance_id();
        dek = keyring->new_dek(kOwner).value();
        meta = keyring->service_key(ServiceKey::kMeta).value();
        EXPECT_EQ(create().error().code(), Code::kConflict);
    }
    const auto keyring = open().value();
    EXPECT_TRUE(keyring->is_sealed());
    EXPECT_EQ(keyring->instance_id(), instance);
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(keyring->dek(dek.id, kOwner).error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->new_dek(kOwner).error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->service_key(ServiceKey::kMeta).error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->add_slot(key_file(1), "x").error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->remove_slot(Id{}).error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->erase_dek(dek.id).error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->audit_mac_key().error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->list_deks().error().code(), Code::kUnavailable);
        EXPECT_EQ(keyring->list_slots()->size(), 1U);
        EXPECT_EQ(keyring->unseal(passphrase("wrong")).error().code(), Code::kUnauthenticated);
        EXPECT_EQ(keyring->unseal(key_file(1)).error().code(), Code::kUnauthenticated);
        EXPECT_EQ(keyring->unseal(passphrase("")).error().code(), Code::kInvalidArgument);
        EXPECT_TRUE(keyring->is_sealed());
        ASSERT_TRUE(keyring->unseal(passphrase("first")));
        EXPECT_EQ(keyring->unseal(passphrase("first")).error().code(), Code::kConflict);
        EXPECT_TRUE(keyring->dek(dek.id, kOwner)->key == dek.key);
        EXPECT_TRUE(*keyring->service_key(ServiceKey::kMeta) == meta);
        keyring->seal();
    }
    EXPECT_FALSE(state_contains(dek.key.bytes()));
    EXPECT_FALSE(state_contains(meta.bytes()));
    EXPECT_FALSE(state_contains(as_bytes("first")));
}

TEST_F(KeyringTest, NothingThereIsNotFoundAndMakesNothing) {
    EXPECT_EQ(open().error().code(), Code::kNotFound);
    EXPECT_FALSE(files_.info(database_path()));
}

TEST_F(KeyringTest, ServiceKeysDiffer) {
    const auto keyring = create().value();
    std::vector<Secret<32>> keys;
    for (const ServiceKey key :
         {ServiceKey::kMeta, ServiceKey::kLookup, ServiceKey::kSession, ServiceKey::kFloor,
          ServiceKey::kBackup, ServiceKey::kCa, ServiceKey::kAuditSign}) {
        keys.push_back(keyring->service_key(key).value());
    }
    keys.push_back(std::move(keyring->audit_mac_key()->key));
    for (std::size_t i = 0; i < keys.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(keys[i] == keys[j]);
    }
}

TEST_F(KeyringTest, SlotsComeAndGo) {
    const auto keyring = create().value();
    const Dek dek = keyring->new_dek(kOwner).value();
    const Id first = keyring->list_slots()->at(0).id;
    EXPECT_EQ(keyring->remove_slot(first).error().code(), Code::kConflict);  // the last one
    EXPECT_EQ(keyring->remove_slot(new_id(random_)).error().code(), Code::kNotFound);
    clock_.advance_us(1);
    const Id file = keyring->add_slot(key_file(7), "recovery").value();
    clock_.advance_us(1);
    const Id second = keyring->add_slot(passphrase("second"), "deputy").value();
    EXPECT_EQ(keyring->add_slot(SlotSecret::key_file(SecretBytes(31)), "short").error().code(),
              Code::kInvalidArgument);
    EXPECT_EQ(keyring->add_slot(passphrase(""), "empty").error().code(), Code::kInvalidArgument);
    const auto slots = keyring->list_slots().value();
    ASSERT_EQ(slots.size(), 3U);
    EXPECT_EQ(slots[1].id, file);
    EXPECT_EQ(slots[1].kind, SlotKind::kKeyFile);
    EXPECT_EQ(slots[1].label, "recovery");
    EXPECT_EQ(slots[2].id, second);
    EXPECT_EQ(slots[2].created_us, clock_.wall_now_us());
    const auto opens = [&](const SlotSecret& secret) {
        keyring->seal();
        const Status status = keyring->unseal(secret);
        if (status) {
            EXPECT_TRUE(keyring->dek(dek.id, kOwner)->key == dek.key);
        } else {
            EXPECT_EQ(status.error().code(), Code::kUnauthenticated);
            EXPECT_TRUE(keyring->unseal(key_file(7)));
        }
        return status.has_value();
    };
    EXPECT_TRUE(opens(passphrase("first")));
    EXPECT_TRUE(opens(passphrase("second")));
    EXPECT_TRUE(opens(key_file(7)));
    EXPECT_FALSE(opens(key_file(8)));
    ASSERT_TRUE(keyring->remove_slot(first));
    EXPECT_FALSE(opens(passphrase("first")));
    EXPECT_TRUE(opens(passphrase("second")));
    ASSERT_TRUE(keyring->remove_slot(second));
    EXPECT_EQ(keyring->remove_slot(file).error().code(), Code::kConflict);
    for (std::size_t i = 1; i < Keyring::kMaxSlots; ++i) ASSERT_TRUE(keyring->add_slot(key_file(9), "more"));
    EXPECT_EQ(keyring->add_slot(key_file(9), "too many").error().code(), Code::kConflict);
}

TEST_F(KeyringTest, DataKeysAreBoundToIdAndOwner) {
    Id one_id;
    Id two_id;
    {
        const auto keyring = create().value();
        const Dek one = keyring->new_dek(kOwner).value();
        const Dek two = keyring->new_dek(kOwner).value();
        one_id = one.id;
        two_id = two.id;
        EXPECT_FALSE(one.key == two.key);
        EXPECT_EQ(keyring->dek(one.id, "tenant/aaaa/user/cccc/content").error().code(), Code::kIntegrity);
        EXPECT_EQ(keyring->dek(one.id, "").error().code(), Code::kIntegrity);
        EXPECT_EQ(keyring->dek(new_id(random_), kOwner).error().code(), Code::kNotFound);
        EXPECT_EQ(keyring->list_deks()->size(), 2U);
    }
    // A wrap copied to another row.
    edit("UPDATE deks SET wrap = (SELECT wrap FROM deks WHERE id = x'" + to_hex(one_id) + "')");
    const auto keyring = open_unsealed();
    EXPECT_TRUE(keyring->dek(one_id, kOwner));
    EXPECT_EQ(keyring->dek(two_id, kOwner).error().code(), Code::kIntegrity);
}

TEST_F(KeyringTest, ErasedKeysAreGoneFromFileAndLog) {
    const auto keyring = create().value();
    std::vector<Dek> deks;
    for (int i = 0; i < 30; ++i) deks.push_back(keyring->new_dek(kOwner).value());
    const Dek& dek = deks[17];
    // All wraps hold their id; the wrap's ciphertext is read through a copy of the file.
    Bytes wrap;
    {
        const std::string copy = folder_ + "/copy.db";
        std::filesystem::copy_file(database_path(), copy);
        std::filesystem::copy_file(database_path() + "-wal", copy + "-wal");
        sqlite3* handle = nullptr;
        ASSERT_EQ(sqlite3_open(copy.c_str(), &handle), SQLITE_OK);
        sqlite3_stmt* statement = nullptr;
        const std::string sql = "SELECT wrap FROM deks WHERE id = x'" + to_hex(dek.id) + "'";
        ASSERT_EQ(sqlite3_prepare_v2(handle, sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
        ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
        const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement, 0));
        wrap.assign(bytes, bytes + sqlite3_column_bytes(statement, 0));
        sqlite3_finalize(statement);
        sqlite3_close(handle);
        for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(copy + suffix);
    }
    const ByteSpan secret_part = ByteSpan(wrap).subspan(22);
    EXPECT_TRUE(state_contains(secret_part));
    ASSERT_TRUE(keyring->erase_dek(dek.id));
    EXPECT_FALSE(state_contains(secret_part));
    EXPECT_EQ(keyring->dek(dek.id, kOwner).error().code(), Code::kNotFound);
    EXPECT_EQ(keyring->erase_dek(dek.id).error().code(), Code::kNotFound);
    EXPECT_EQ(keyring->list_deks()->size(), 29U);
    EXPECT_TRUE(keyring->dek(deks[16].id, kOwner)->key == deks[16].key);
}

TEST_F(KeyringTest, AuditKeyEvolvesOneStepAtATime) {
    {
        const auto keyring = create().value();
        EvolvingKey now = keyring->audit_mac_key().value();
        EXPECT_EQ(now.counter, 0U);
        for (std::uint64_t step = 1; step <= 3; ++step) {
            const Digest32 next = hmac_sha256(now.key.bytes(), as_bytes("next"));
            ASSERT_TRUE(keyring->replace_audit_mac_key({step, Secret<32>::copy_of(next)}));
            now = keyring->audit_mac_key().value();
            EXPECT_EQ(now.counter, step);
            EXPECT_TRUE(constant_time_equal(now.key.bytes(), next));
        }
        EXPECT_EQ(keyring->replace_audit_mac_key({3, now.key.clone()}).error().code(), Code::kConflict);
        EXPECT_EQ(keyring->replace_audit_mac_key({5, now.key.clone()}).error().code(), Code::kConflict);
    }
    EXPECT_EQ(open_unsealed()->audit_mac_key()->counter, 3U);
    edit("UPDATE service_keys SET counter = 4 WHERE name = 'audit-mac'");
    EXPECT_EQ(open().value()->unseal(passphrase("first")).error().code(), Code::kIntegrity);
}

// Every byte of every wrap: the first slot's (wrong secret), service keys and epochs (seen at unseal), data
// keys (seen when used).
TEST_F(KeyringTest, EveryAlteredByteOfEveryWrapIsRefused) {
    Id dek_id;
    { dek_id = create().value()->new_dek(kOwner)->id; }
    const auto check = [&](const std::string& table, const std::string& where, const Bytes& wrap,
                           const std::function<void(std::size_t)>& refused) {
        ASSERT_EQ(wrap.size(), 94U);
        for (std::size_t i = 0; i < wrap.size(); ++i) {
            Bytes bad = wrap;
            bad[i] ^= static_cast<std::uint8_t>(1U << (i % 8));
            edit("UPDATE " + table + " SET wrap = x'" + to_hex(bad) + "' WHERE " + where);
            refused(i);
        }
        edit("UPDATE " + table + " SET wrap = x'" + to_hex(wrap) + "' WHERE " + where);
    };
    const auto unseal_fails = [&](Code code) {
        return [this, code](std::size_t byte) {
            EXPECT_EQ(open().value()->unseal(passphrase("first")).error().code(), code) << byte;
        };
    };
    check("slots", "1", select_blobs("SELECT 0, wrap FROM slots").at(0).second,
          unseal_fails(Code::kUnauthenticated));
    check("keks", "epoch = 1", select_blobs("SELECT epoch, wrap FROM keks").at(0).second,
          unseal_fails(Code::kIntegrity));
    for (const char* name : {"meta", "floor", "audit-mac"}) {
        const std::string where = "name = '" + std::string(name) + "'";
        check("service_keys", where,
              select_blobs("SELECT 0, wrap FROM service_keys WHERE " + where).at(0).second,
              unseal_fails(Code::kIntegrity));
    }
    check("deks", "1", select_blobs("SELECT 0, wrap FROM deks").at(0).second, [&](std::size_t byte) {
        EXPECT_EQ(open_unsealed()->dek(dek_id, kOwner).error().code(), Code::kIntegrity) << byte;
    });
    EXPECT_TRUE(open_unsealed()->dek(dek_id, kOwner));
}

TEST_F(KeyringTest, EditedRowsAreRefused) {
    { ASSERT_TRUE(create()); }
    const auto after = [&](const std::string& sql, const std::string& back) {
        edit(sql);
        const auto keyring = open();
        const Status status =
            keyring ? (*keyring)->unseal(passphrase("first")) : Status(fail(keyring.error()));
        EXPECT_FALSE(status) << sql;
        if (!back.empty()) edit(back);
        return status ? Code::kInternal : status.error().code();
    };
    // The slot's other columns are bound in its wrap.
    EXPECT_EQ(after("UPDATE slots SET label = 'x'", "UPDATE slots SET label = 'console'"),
              Code::kUnauthenticated);
    EXPECT_EQ(
        after("UPDATE slots SET created_us = created_us + 1", "UPDATE slots SET created_us = created_us - 1"),
        Code::kUnauthenticated);
    EXPECT_EQ(after("UPDATE slots SET passes = 2", "UPDATE slots SET passes = 1"), Code::kUnauthenticated);
    // A cost outside of the limits is refused before it is paid.
    EXPECT_EQ(after("UPDATE slots SET memory_bytes = 1099511627776", "UPDATE slots SET memory_bytes = 8192"),
              Code::kIntegrity);
    EXPECT_EQ(after("UPDATE slots SET passes = 4294967295", "UPDATE slots SET passes = 1"), Code::kIntegrity);
    EXPECT_EQ(after("UPDATE slots SET passes = -1", "UPDATE slots SET passes = 1"), Code::kIntegrity);
    EXPECT_EQ(after("UPDATE slots SET kind = 9", "UPDATE slots SET kind = 1"), Code::kIntegrity);
    // Service keys swapped or taken away.
    EXPECT_EQ(after("UPDATE service_keys SET name = 'x' WHERE name = 'meta'",
                    "UPDATE service_keys SET name = 'meta' WHERE name = 'x'"),
              Code::kIntegrity);
    EXPECT_EQ(after("UPDATE keks SET epoch = 2", "UPDATE keks SET epoch = 1"), Code::kIntegrity);
    open_unsealed();
    EXPECT_EQ(after("UPDATE instance SET id = zeroblob(16)", ""), Code::kUnauthenticated);
}

TEST_F(KeyringTest, AKeystoreIsWholeOrAbsentAfterACrashAtEveryCall) {
    for (std::uint64_t call = 1;; ++call) {
        start_anew();
        vfs_.fail_at(call, false, true);
        const bool created = create().has_value();
        const bool failed = vfs_.has_failed();
        vfs_.heal();
        const auto keyring = open();
        if (keyring) {
            EXPECT_TRUE((*keyring)->unseal(passphrase("first"))) << call;
            EXPECT_TRUE((*keyring)->new_dek(kOwner));
        } else {
            EXPECT_EQ(keyring.error().code(), Code::kNotFound) << call << ": " << keyring.error().to_string();
            EXPECT_TRUE(create()) << call;  // and can be made after all
        }
        if (!failed) {
            EXPECT_TRUE(created);
            EXPECT_GT(call, 10U);
            break;
        }
    }
}

// Slot changes, key evolution and erasure under a fault at every call: the keystore opens afterwards with
// every secret that must open it, and never with one that was reported removed.
TEST_F(KeyringTest, ChangesAreWholeUnderAFaultAtEveryCall) {
    for (const bool crash : {false, true}) {
        for (std::uint64_t call = 1;; ++call) {
            start_anew();
            Id first;
            Id kept;
            Id erased;
            {
                const auto keyring = create().value();
                ASSERT_TRUE(keyring->add_slot(key_file(7), "file"));
                first = keyring->list_slots()->at(0).kind == SlotKind::kPassphrase
                            ? keyring->list_slots()->at(0).id
                            : keyring->list_slots()->at(1).id;
                kept = keyring->new_dek(kOwner)->id;
                erased = keyring->new_dek(kOwner)->id;
            }
            auto keyring = open().value();
            ASSERT_TRUE(keyring->unseal(passphrase("first")));
            vfs_.fail_at(call, false, crash);
            const bool added = keyring->add_slot(key_file(8), "new").has_value();
            const bool removed = keyring->remove_slot(first).has_value();
            const Digest32 next_key = sha256(as_bytes("next"));
            const bool evolved =
                keyring->replace_audit_mac_key({1, Secret<32>::copy_of(next_key)}).has_value();
            const bool gone = keyring->erase_dek(erased).has_value();
            const bool failed = vfs_.has_failed();
            keyring.reset();
            vfs_.heal();

            keyring = open().value();
            ASSERT_TRUE(keyring->unseal(key_file(7))) << call;
            EXPECT_TRUE(keyring->dek(kept, kOwner)) << call;
            if (gone) {
                EXPECT_EQ(keyring->dek(erased, kOwner).error().code(), Code::kNotFound);
            }
            const EvolvingKey now = keyring->audit_mac_key().value();
            EXPECT_TRUE(now.counter == 0 || constant_time_equal(now.key.bytes(), next_key));
            if (evolved) {
                EXPECT_EQ(now.counter, 1U);
            }
            keyring->seal();
            if (added) {
                EXPECT_TRUE(keyring->unseal(key_file(8))) << call;
            }
            keyring->seal();
            if (removed) {
                EXPECT_FALSE(keyring->unseal(passphrase("first"))) << call;
            }
            if (!failed) {
                EXPECT_TRUE(added && removed && evolved && gone);
                EXPECT_GT(call, 10U);
                break;
            }
        }
    }
}

// The other tests run over FaultyVfs, without syncs.
TEST(Keyring, WorksOnTheFileSystemItself) {
    std::string folder = testing::TempDir() + "ostal_keyring_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    PosixFiles files;
    const ManualClock clock;
    SeededRandom random(32);
    const Keyring::Seams seams{files, clock, random};
    const auto key_file = [] { return SlotSecret::key_file(SecretBytes::copy_of(Bytes(32, 5))); };
    Id id;
    {
        const auto keyring = Keyring::create(seams, folder, key_file(), "file").value();
        id = keyring->new_dek("tenant/x").value().id;
        const Id other = keyring->new_dek("tenant/y").value().id;
        EXPECT_TRUE(keyring->erase_dek(other));
    }
    const auto keyring = Keyring::open(seams, folder).value();
    ASSERT_TRUE(keyring->unseal(key_file()));
    EXPECT_TRUE(keyring->dek(id, "tenant/x"));
    for (const char* suffix : {"", "-wal", "-shm"}) {
        EXPECT_EQ(files.info(join_path(folder, "db/keystore.db") + suffix)->mode, 0600U);
    }
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ostal::security
