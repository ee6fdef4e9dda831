#include "security/storage/state_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace ostal::security {
namespace {

TEST(StateLock, OneHolderAtATime) {
    std::string folder = testing::TempDir() + "ostal_lock_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    PosixFiles files;
    {
        auto lock = StateLock::acquire(files, folder);
        ASSERT_TRUE(lock);
        const auto second = StateLock::acquire(files, folder);
        EXPECT_EQ(second.error().code(), Code::kConflict);
        EXPECT_TRUE(second.error().message().starts_with("state folder in use by process " +
                                                         std::to_string(::getpid())));
        const StateLock moved = std::move(*lock);
        EXPECT_FALSE(StateLock::acquire(files, folder));
        EXPECT_EQ(files.info(join_path(folder, "lock"))->mode, 0600U);
    }
    EXPECT_TRUE(StateLock::acquire(files, folder));
    std::filesystem::remove_all(folder);
}

TEST(StateLock, EndsWithTheProcess) {
    std::string folder = testing::TempDir() + "ostal_lock_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    PosixFiles files;
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const auto lock = StateLock::acquire(files, folder);
        const char answer = lock ? 'y' : 'n';
        if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
        for (;;) ::pause();
    }
    char answer = 0;
    ASSERT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    const auto refused = StateLock::acquire(files, folder);
    EXPECT_NE(refused.error().message().find(std::to_string(child)), std::string::npos);
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    EXPECT_TRUE(StateLock::acquire(files, folder));
    ::close(ready[0]);
    ::close(ready[1]);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace ostal::security
