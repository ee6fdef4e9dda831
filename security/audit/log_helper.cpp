// Makes logs for tests: audit_log_helper FOLDER KEYS FIRST_NUMBER [COUNT]
//
// Without COUNT it appends records from four threads until it is killed (kill_test.cpp), else COUNT records
// from one thread. Each acknowledged record is reported on stdout. KEYS keeps the evolving MAC key, at
// first 32 zero bytes.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "security/audit/log.h"
#include "security/crypto/ed25519.h"
#include "security/secret.h"

namespace {

using namespace ostal;
using namespace ostal::security;

class FileKeys final : public AuditKeys {
public:
    FileKeys(Files& files, std::string path)
        : files_(files), path_(std::move(path)), key_(Ed25519PrivateKey::from_seed(Secret<32>().view())) {}
    std::string origin() const override { return "kill.ostal/audit"; }
    std::array<std::uint8_t, 32> public_key() const override { return key_.public_key(); }
    Result<std::array<std::uint8_t, 64>> sign(ByteSpan message) override { return key_.sign(message); }
    Status load_mac_key(Secret<32>& key, std::uint64_t& counter) override {
        auto bytes = read_file(files_, path_, 40);
        if (!bytes && bytes.error().code() == Code::kNotFound) bytes = Bytes(40);
        if (!bytes) return fail(bytes.error());
        key = Secret<32>::copy_of(KeyView(bytes->data() + 8, 32));
        counter = load_le<std::uint64_t>(bytes->data());
        return {};
    }
    Status store_mac_key(const Secret<32>& next, std::uint64_t counter) override {
        Bytes bytes(8);
        store_le(bytes.data(), counter);
        append(bytes, next.view());
        return replace_file(files_, path_, bytes);
    }

private:
    Files& files_;
    std::string path_;
    Ed25519PrivateKey key_;
};

[[noreturn]] void give_up(const Error& error) {
    std::fprintf(stderr, "audit_log_helper: %s\n", error.to_string().c_str());
    std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4 && argc != 5) return 2;
    PosixFiles files;
    const SystemClock clock;
    NullLog sink;
    AuditLog::Options options;
    options.folder = argv[1];
    options.reserve_bytes = 0;
    options.checkpoint_interval_us = 20'000;
    options.checkpoint_records = 50;
    auto log = AuditLog::open(options, files, clock, sink);
    if (!log) give_up(log.error());
    if (auto status = (*log)->unseal(std::make_unique<FileKeys>(files, argv[2])); !status)
        give_up(status.error());
    const std::uint64_t first = std::strtoull(argv[3], nullptr, 10);
    const std::uint64_t count = argc == 5 ? std::strtoull(argv[4], nullptr, 10) : UINT64_MAX - first;
    const std::uint64_t workers = argc == 5 ? 1 : 4;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < workers; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = t; i < count; i += workers) {
                AuditRecord record;
                record.id = "test_" + std::to_string(first + i);
                record.action = "test:append";
                if (auto status = (*log)->append(record); !status) give_up(status.error());
                const std::string line = record.id + "\n";
                if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    if (auto status = (*log)->close(); !status) give_up(status.error());
    return 0;
}
