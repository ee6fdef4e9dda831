// Every confinement is entered in a forked child, whose end tells what happened.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <thread>

#include "security/sandbox/harden.h"
#include "security/sandbox/zygote.h"

namespace ostal::security {
namespace {

#ifdef OSTAL_SANITIZED
constexpr bool kConfined = false;
#else
constexpr bool kConfined = true;
#endif

// The wait status of a child that runs `body` and exits with its value.
int in_child(const std::function<int()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(body());
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
}

TEST(Harden, ProcessFlags) {
    const int status = in_child([] {
        if (!harden_process()) return 1;
        rlimit core{};
        ::getrlimit(RLIMIT_CORE, &core);
        if (core.rlim_cur != 0) return 2;
        if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) return 3;
        if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 4;
        return ::umask(0) == 077 ? 0 : 5;
    });
    EXPECT_EQ(status, 0);
}

TEST(Seccomp, ExecKillsTheDaemon) {
    if (!kConfined) GTEST_SKIP() << "sanitizer builds do not enter seccomp";
    const int status = in_child([] {
        if (!harden_process() || !restrict_system_calls()) return 1;
        ::execl("/bin/true", "true", nullptr);
        return 2;
    });
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

TEST(Seccomp, SocketsAndProcessesAreRefusedThreadsAreNot) {
    if (!kConfined) GTEST_SKIP() << "sanitizer builds do not enter seccomp";
    const int status = in_child([] {
        if (!harden_process() || !restrict_system_calls()) return 1;
        if (::socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM) return 2;
        if (::socket(AF_INET6, SOCK_STREAM, 0) >= 0 || errno != EPERM) return 3;
        if (::socket(AF_NETLINK, SOCK_RAW, 0) >= 0 || errno != EPERM) return 4;
        if (::socket(AF_UNIX, SOCK_STREAM, 0) < 0) return 5;
        if (::fork() >= 0) return 6;
        int ran = 0;
        std::thread([&] { ran = 1; }).join();
        return ran == 1 ? 0 : 7;
    });
    EXPECT_EQ(status, 0);
}

TEST(Landlock, OnlyTheNamedFoldersOpen) {
    std::string folder = testing::TempDir() + "ostal_landlock_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const int status = in_child([&] {
        if (!harden_process()) return 1;
        FileAccess access;
        access.read_write = {folder};
        access.read_only = {"/proc/self", "/does/not/exist"};
        const auto confined = restrict_file_access(access);
        if (!confined) return 2;
        if (*confined == Confinement::kUnsupported) return 99;
        if (::open("/etc/passwd", O_RDONLY) >= 0) return 3;
        if (::mkdir((folder + "/a").c_str(), 0700) != 0 || ::mkdir((folder + "/b").c_str(), 0700) != 0) return 4;
        const int fd = ::open((folder + "/a/f").c_str(), O_CREAT | O_RDWR, 0600);
        if (fd < 0) return 5;
        // REFER: renames between folders of the state.
        if (::rename((folder + "/a/f").c_str(), (folder + "/b/f").c_str()) != 0) return 6;
        if (::unlink((folder + "/b/f").c_str()) != 0) return 7;
        ::rmdir((folder + "/a").c_str());
        ::rmdir((folder + "/b").c_str());
        return 0;
    });
    ::rmdir(folder.c_str());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 99) {
        GTEST_SKIP() << "this kernel has no Landlock, or this is a sanitizer build";
    }
    EXPECT_EQ(status, 0);
}

std::string test_job(const std::string& request, std::span<const int> descriptors) {
    if (request == "crash") ::abort();
    if (request == "open") return ::open("/etc/passwd", O_RDONLY) >= 0 ? "opened" : "refused";
    if (request == "hang") {
        timespec now{};
        for (;;) ::clock_gettime(CLOCK_MONOTONIC, &now);
    }
    if (request == "environment") return ::getenv("PATH") == nullptr ? "empty" : "not empty";
    if (request == "descriptors") {
        int open_count = 0;
        struct stat info{};
        for (int fd = 3; fd < 1024; ++fd) open_count += ::fstat(fd, &info) == 0 ? 1 : 0;
        return std::to_string(open_count);
    }
    std::string out = request + ":";
    for (const int fd : descriptors) {
        char buffer[64];
        const ssize_t got = ::pread(fd, buffer, sizeof buffer, 0);
        out.append(buffer, static_cast<std::size_t>(got > 0 ? got : 0));
        out += ';';
    }
    return out;
}

class ZygoteTest : public testing::Test {
protected:
    static constexpr std::int64_t kLimit = 10'000'000;
    Result<std::string> run(const std::string& request, std::span<const int> descriptors = {}) {
        return zygote_.run(request, descriptors, kLimit);
    }
    Zygote zygote_ = Zygote::start(test_job).value();
};

TEST_F(ZygoteTest, RunsJobsOverPassedDescriptors) {
    const std::string path = testing::TempDir() + "ostal_zygote_file_" + std::to_string(::getpid());
    std::ofstream(path) << "content";
    const int fd = ::open(path.c_str(), O_RDONLY);
    const int both[] = {fd, fd};
    EXPECT_EQ(run("read", both).value(), "read:content;content;");
    for (int i = 0; i < 50; ++i) EXPECT_EQ(run("again").value(), "again:");
    ::close(fd);
    ::unlink(path.c_str());
}

TEST_F(ZygoteTest, AWorkerThatDiesIsAnErrorAndTheNextOneWorks) {
    EXPECT_EQ(run("crash").error().code(), Code::kIntegrity);
    EXPECT_EQ(run("again").value(), "again:");
}

TEST_F(ZygoteTest, WorkersOpenNothingAndInheritNothing) {
    if (kConfined) {
        EXPECT_EQ(run("open").error().code(), Code::kIntegrity);  // killed by its filter
    }
    EXPECT_EQ(run("environment").value(), "empty");
    EXPECT_EQ(run("descriptors").value(), "1");  // its reply socket
}

TEST_F(ZygoteTest, AnEndlessJobHitsItsDeadlineAndEndsWithTheZygote) {
    EXPECT_EQ(zygote_.run("hang", {}, 50'000).error().code(), Code::kDeadlineExceeded);
    EXPECT_EQ(run("again").value(), "again:");
}

TEST_F(ZygoteTest, TooLargeJobsAreRefused) {
    EXPECT_EQ(run(std::string(Zygote::kMaxMessageBytes + 1, 'x')).error().code(), Code::kTooLarge);
    EXPECT_TRUE(run(std::string(Zygote::kMaxMessageBytes / 2, 'x')));
}

TEST_F(ZygoteTest, DeadZygoteIsUnavailable) {
    ::kill(zygote_.process_id(), SIGKILL);
    int status = 0;
    ::waitpid(zygote_.process_id(), &status, 0);
    EXPECT_EQ(run("again").error().code(), Code::kUnavailable);
}

TEST_F(ZygoteTest, ThreadsMayShareIt) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 20; ++i) {
                const std::string text = std::to_string(t * 100 + i);
                EXPECT_EQ(run(text).value(), text + ":");
            }
        });
    }
    for (auto& thread : threads) thread.join();
}

TEST(Zygote, EndsWithItsParent) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t parent = ::fork();
    if (parent == 0) {
        auto zygote = Zygote::start(test_job);
        const int pid = zygote->process_id();
        (void)!::write(pipe_ends[1], &pid, sizeof pid);
        ::raise(SIGKILL);
    }
    int zygote_pid = 0;
    ASSERT_EQ(::read(pipe_ends[0], &zygote_pid, sizeof zygote_pid), static_cast<ssize_t>(sizeof zygote_pid));
    int status = 0;
    ::waitpid(parent, &status, 0);
    bool ended = false;
    for (int i = 0; i < 500 && !ended; ++i) {
        // Gone, or a zombie that the session's init has yet to reap.
        std::ifstream stat_file("/proc/" + std::to_string(zygote_pid) + "/stat");
        std::string line;
        std::getline(stat_file, line);
        ended = line.empty() || line.find(") Z ") != std::string::npos;
        if (!ended) ::usleep(10'000);
    }
    EXPECT_TRUE(ended);
    ::close(pipe_ends[0]);
    ::close(pipe_ends[1]);
}

}  // namespace
}  // namespace ostal::security
