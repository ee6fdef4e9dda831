#include "engine/backend/cpu/thread_team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace ostal::engine::cpu {
namespace {

TEST(ThreadTeam, EveryMemberWorksOnceAJob) {
    for (std::int32_t size = 1; size <= 4; ++size) {
        ThreadTeam team(size, {});
        std::vector<int> counts(static_cast<std::size_t>(size));
        for (int job = 0; job < 2000; ++job) {
            team.run([&](std::int32_t member) { ++counts[static_cast<std::size_t>(member)]; });
            // Plain ints: seen by the caller because run() returned.
            for (const int count : counts) ASSERT_EQ(count, job + 1);
        }
    }
}

TEST(ThreadTeam, TheCallerIsMemberZero) {
    ThreadTeam team(3, {});
    std::vector<std::thread::id> ids(3);
    team.run(
        [&](std::int32_t member) { ids[static_cast<std::size_t>(member)] = std::this_thread::get_id(); });
    EXPECT_EQ(ids[0], std::this_thread::get_id());
    EXPECT_NE(ids[1], ids[2]);
    EXPECT_NE(ids[1], ids[0]);
}

TEST(ThreadTeam, SleepersWakeForTheNextJob) {
    ThreadTeam team(2, {0, 0});
    for (int job = 0; job < 3; ++job) {
        // Longer than a member spins; whether it sleeps by then does not change what is asserted.
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        int worked[2] = {0, 0};
        team.run([&](std::int32_t member) { worked[member] = 1; });
        EXPECT_EQ(worked[0] + worked[1], 2);
    }
}

TEST(ThreadTeam, SlowMembersAreWaitedFor) {
    ThreadTeam team(3, {});
    int done[3] = {0, 0, 0};
    team.run([&](std::int32_t member) {
        std::this_thread::sleep_for(std::chrono::milliseconds(member));
        done[member] = 1;
    });
    EXPECT_EQ(done[0] + done[1] + done[2], 3);
}

TEST(ThreadTeam, SlicesCoverAllOnceAtGrains) {
    for (const std::int64_t count : {0, 1, 15, 16, 17, 100, 4096}) {
        for (const std::int64_t grain : {1, 16}) {
            for (std::int32_t members = 1; members <= 7; ++members) {
                std::int64_t next = 0;
                for (std::int32_t member = 0; member < members; ++member) {
                    const Slice slice = slice_of(count, grain, member, members);
                    EXPECT_EQ(slice.begin, next);
                    EXPECT_GE(slice.end, slice.begin);
                    EXPECT_TRUE(slice.end == count || slice.end % grain == 0);
                    next = slice.end;
                }
                EXPECT_EQ(next, count);
            }
        }
    }
}

}  // namespace
}  // namespace ostal::engine::cpu
