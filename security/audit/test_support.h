// Keys and folders for tests of the audit log.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "security/audit/keys.h"
#include "security/audit/log.h"
#include "security/crypto/ed25519.h"
#include "security/secret.h"

namespace ostal::security::audit_test {

// The part of a keystore that the log uses; outlives the AuditKeys made from it, as a database does.
struct KeyBox {
    explicit KeyBox(std::uint64_t seed = 1) {
        SeededRandom random(seed);
        signing_seed.resize(32);
        random.fill(signing_seed);
        first_mac_key.resize(32);
        random.fill(first_mac_key);
        mac_key = first_mac_key;
    }
    Bytes signing_seed;
    Bytes first_mac_key;  // K_audit0
    Bytes mac_key;
    std::uint64_t counter = 0;
    std::string origin = "test.ostal/audit";
    bool fail_store = false;
};

class BoxKeys final : public AuditKeys {
public:
    explicit BoxKeys(KeyBox& box)
        : box_(box), key_(Ed25519PrivateKey::from_seed(KeyView(box.signing_seed.data(), 32))) {}
    std::string origin() const override { return box_.origin; }
    std::array<std::uint8_t, 32> public_key() const override { return key_.public_key(); }
    Result<std::array<std::uint8_t, 64>> sign(ByteSpan message) override { return key_.sign(message); }
    Status load_mac_key(Secret<32>& key, std::uint64_t& counter) override {
        key = Secret<32>::copy_of(KeyView(box_.mac_key.data(), 32));
        counter = box_.counter;
        return {};
    }
    Status store_mac_key(const Secret<32>& next, std::uint64_t counter) override {
        if (box_.fail_store) return fail(Code::kIo, "the keystore cannot be written");
        EXPECT_EQ(counter, box_.counter + 1);
        box_.mac_key.assign(next.view().begin(), next.view().end());
        box_.counter = counter;
        return {};
    }

private:
    KeyBox& box_;
    Ed25519PrivateKey key_;
};

// PosixFiles without the waiting for the disk: what is tested is the order of calls, not the hardware.
class UnsyncedFiles final : public Files {
public:
    Result<std::unique_ptr<File>> open(const std::string& path, Open how) override {
        OSTAL_TRY(auto file, posix_.open(path, how));
        return std::unique_ptr<File>(std::make_unique<Unsynced>(std::move(file)));
    }
    Status rename(const std::string& from, const std::string& to) override { return posix_.rename(from, to); }
    Status remove_file(const std::string& path) override { return posix_.remove_file(path); }
    Status remove_directory(const std::string& path) override { return posix_.remove_directory(path); }
    Status make_directory(const std::string& path) override { return posix_.make_directory(path); }
    Status sync_directory(const std::string&) override { return {}; }
    Result<std::vector<std::string>> list_directory(const std::string& path) override {
        return posix_.list_directory(path);
    }
    Result<FileInfo> info(const std::string& path) override { return posix_.info(path); }

private:
    class Unsynced final : public File {
    public:
        explicit Unsynced(std::unique_ptr<File> under) : under_(std::move(under)) {}
        Result<std::size_t> read(MutableByteSpan out) override { return under_->read(out); }
        Result<std::size_t> pread(MutableByteSpan out, std::uint64_t offset) override {
            return under_->pread(out, offset);
        }
        Status write(ByteSpan bytes) override { return under_->write(bytes); }
        Status pwrite(ByteSpan bytes, std::uint64_t offset) override { return under_->pwrite(bytes, offset); }
        Status fsync() override { return {}; }
        Status fdatasync() override { return {}; }
        Status truncate(std::uint64_t size) override { return under_->truncate(size); }
        Status allocate(std::uint64_t size) override { return under_->allocate(size); }
        Result<std::uint64_t> size() override { return under_->size(); }
        int descriptor() const override { return under_->descriptor(); }

    private:
        std::unique_ptr<File> under_;
    };
    PosixFiles posix_;
};

// In memory where the system has it: the tests replace hundreds of logs, and none is about the disk itself (a
// killed process loses nothing that it gave to the kernel).
class TempFolder {
public:
    TempFolder() {
        const std::string base = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir();
        std::string form = base + "/ostal-audit-XXXXXX";
        path_ = ::mkdtemp(form.data());
    }
    ~TempFolder() { std::filesystem::remove_all(path_); }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    const std::string& path() const { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }
    std::string operator/(const std::string& name) const { return file(name); }

private:
    std::string path_;
};

inline AuditRecord sample_record(std::uint64_t number) {
    AuditRecord record;
    record.id = "req_" + std::to_string(number);
    record.pair = number % 3 == 0   ? AuditPair::kEvent
                  : number % 3 == 1 ? AuditPair::kRequest
                                    : AuditPair::kResponse;
    record.actor = "usr_aaaa";
    record.auth = "password";
    record.ip = "127.0.0.1";
    record.role = "owner";
    record.action = "model:list";
    record.decision = "allow";
    record.policy_version = 1;
    record.tokens_in = number;
    record.status = 200;
    return record;
}

inline AuditLog::Options options_of(const std::string& folder) {
    AuditLog::Options options;
    options.folder = folder;
    options.reserve_bytes = 64 * 1024;
    return options;
}

// A closed log of `count` records under checkpoints of at most 100 each.
inline void make_log(const std::string& folder, std::uint64_t count, KeyBox& box) {
    UnsyncedFiles files;
    ManualClock clock;
    NullLog sink;
    AuditLog::Options options = options_of(folder);
    options.checkpoint_records = 100;
    auto log = AuditLog::open(options, files, clock, sink).value();
    ASSERT_TRUE(log->unseal(std::make_unique<BoxKeys>(box)));
    for (std::uint64_t i = 0; i < count; ++i) {
        if (i % 7 == 6 || i + 1 == count) {
            ASSERT_TRUE(log->append(sample_record(i)));
        } else {
            log->append(sample_record(i), [](Status status) { ASSERT_TRUE(status); });
        }
    }
    ASSERT_TRUE(log->close());
}

inline Bytes read_all(const std::string& path) {
    PosixFiles files;
    return read_file(files, path, 1ULL << 30).value();
}
inline void write_all(const std::string& path, ByteSpan bytes) {
    PosixFiles files;
    auto file = files.open(path, Files::Open::kReadWrite).value();
    ASSERT_TRUE(file->truncate(0));
    ASSERT_TRUE(file->write(bytes));
}
// Regular files below the folder, relative, sorted.
inline std::vector<std::string> files_below(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (entry.is_regular_file())
            names.push_back(std::filesystem::relative(entry.path(), folder).string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace ostal::security::audit_test
