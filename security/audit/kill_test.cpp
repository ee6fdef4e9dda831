// SIGKILL at twenty arbitrary moments: every record that was acknowledged is in the log, and the log
// verifies.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "security/audit/test_support.h"
#include "security/audit/verify.h"

namespace ostal::security {
namespace {

class Child {
public:
    Child(const std::string& folder, const std::string& keys, std::uint64_t first) {
        int ends[2];
        EXPECT_EQ(::pipe(ends), 0);
        const std::string program = OSTAL_BIN_DIR "/audit_log_helper";
        const std::string number = std::to_string(first);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(ends[1], STDOUT_FILENO);
            ::close(ends[0]);
            ::close(ends[1]);
            ::execl(program.c_str(), program.c_str(), folder.c_str(), keys.c_str(), number.c_str(), nullptr);
            ::_exit(127);
        }
        ::close(ends[1]);
        read_end_ = ends[0];
    }
    // Reads until it has reported `lines` records, kills it, and reads what it had still reported.
    std::vector<std::string> kill_after(std::size_t lines) {
        std::string text;
        char buffer[4096];
        bool killed = false;
        ssize_t got = 0;
        while ((got = ::read(read_end_, buffer, sizeof buffer)) > 0) {
            text.append(buffer, static_cast<std::size_t>(got));
            const auto seen = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
            if (!killed && seen >= lines) {
                ::kill(pid_, SIGKILL);
                killed = true;
            }
        }
        ::close(read_end_);
        int status = 0;
        ::waitpid(pid_, &status, 0);
        EXPECT_TRUE(killed && WIFSIGNALED(status)) << "the helper ended by itself";
        std::vector<std::string> ids;
        for (std::size_t end = 0; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
            ids.push_back(text.substr(0, end));
        }
        return ids;
    }

private:
    pid_t pid_ = 0;
    int read_end_ = -1;
};

TEST(AuditKill, NothingAcknowledgedIsLostInTwentyKills) {
    audit_test::TempFolder folder;
    audit_test::TempFolder keys;
    PosixFiles files;
    SeededRandom random(20);
    std::set<std::string> acknowledged;
    for (std::uint64_t round = 0; round < 20; ++round) {
        Child child(folder.path(), keys / "key", round * 1'000'000);
        for (const std::string& id : child.kill_after((round == 0 ? 100 : 1) + random.below(120)))
            acknowledged.insert(id);

        AuditVerifyOptions options;
        options.folder = folder.path();
        options.mac_key = Bytes(32);
        ManualClock clock;
        NullLog sink;
        AuditLog::Options log_options = audit_test::options_of(folder.path());
        log_options.reserve_bytes = 0;
        auto log = AuditLog::open(log_options, files, clock, sink);  // repairs the tail
        ASSERT_TRUE(log) << log.error().to_string();
        std::set<std::string> present;
        while (true) {
            const auto texts = (*log)->read(present.size(), 1000).value();
            if (texts.empty()) break;
            for (const std::string& text : texts) present.insert(text);
        }
        std::set<std::string> ids;
        for (const std::string& text : present) ids.insert(parse_record(text)->record.id);
        for (const std::string& id : acknowledged)
            ASSERT_TRUE(ids.contains(id)) << id << " in round " << round;
        log->reset();
        const auto verdict = verify_audit(options, files);
        ASSERT_TRUE(verdict && verdict->ok) << verdict->problem;
    }
    EXPECT_GT(acknowledged.size(), 500U);
}

}  // namespace
}  // namespace ostal::security
