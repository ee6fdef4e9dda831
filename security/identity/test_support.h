// A database with the identity tables, and cheap passwords, for tests.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "security/identity/setup.h"
#include "security/identity/tokens.h"
#include "security/storage/database.h"
#include "security/storage/row_mac.h"
#include "security/storage/schema.h"

namespace ostal::security {

constexpr Argon2Cost kCheap{1, 8 * 1024};

class IdentityTest : public testing::Test {
protected:
    void SetUp() override {
        std::string form = testing::TempDir() + "/ostal-identity-XXXXXX";
        folder_ = ::mkdtemp(form.data());
        reopen();
    }
    void TearDown() override {
        database_.reset();
        std::filesystem::remove_all(folder_);
    }
    std::string path() const { return folder_ + "/ostal.db"; }
    void reopen() {
        database_.reset();
        database_ = Database::open(files_, clock_, {path(), ostal_migrations(), "", 1000}).value();
    }
    SetupResult set_up(bool single) {
        SetupRequest request;
        request.single = single;
        request.users = {{"root-of-all", "correct horse battery"}};
        if (!single) {
            request.users.push_back({"officer-one", "staple staple staple"});
            request.users.push_back({"officer-two", "another long password"});
        }
        auto result = set_up_identity(request, *database_, mac_, clock_, random_, kCheap);
        EXPECT_TRUE(result) << result.error().to_string();
        return result.value();
    }
    Users users() { return Users(*database_, mac_, clock_, random_, kCheap); }
    Tenants tenants() { return Tenants(*database_, mac_, clock_, random_); }
    ApiKeys keys() { return ApiKeys(*database_, Secret<32>::copy_of(lookup_key_), mac_, clock_, random_); }
    // What somebody with the file and sqlite3 does.
    void tamper(const std::string& sql) {
        database_.reset();
        sqlite3* raw = nullptr;
        ASSERT_EQ(sqlite3_open(path().c_str(), &raw), SQLITE_OK);
        char* message = nullptr;
        EXPECT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
        EXPECT_GT(sqlite3_total_changes(raw), 0) << sql;
        sqlite3_close(raw);
        reopen();
    }

    PosixFiles files_;
    ManualClock clock_;
    SeededRandom random_{11};
    std::string folder_;
    std::array<std::uint8_t, 32> lookup_key_{7};
    RowMac mac_{Secret<32>::copy_of(std::array<std::uint8_t, 32>{9})};
    std::unique_ptr<Database> database_;
};

}  // namespace ostal::security
