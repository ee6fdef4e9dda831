#include "security/identity/passwords.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace ostal::security {
namespace {

constexpr Argon2Cost kCheap{1, 8 * 1024};
constexpr Argon2Limits kCheapLimits{{1, 8 * 1024}, {4, 1 << 20}};

TEST(Passwords, Rules) {
    EXPECT_TRUE(check_password_rules("twelve chars"));
    EXPECT_FALSE(check_password_rules("eleven char"));
    EXPECT_FALSE(check_password_rules(""));
    EXPECT_TRUE(check_password_rules(std::string(1024, 'x')));
    EXPECT_FALSE(check_password_rules(std::string(1025, 'x')));
    std::string accents;
    for (int i = 0; i < 12; ++i) accents += "\xC3\xA9";
    EXPECT_TRUE(check_password_rules(accents));  // characters, not bytes
    EXPECT_FALSE(check_password_rules(accents.substr(0, 22)));
    EXPECT_FALSE(check_password_rules("twelve\nchars x"));
    EXPECT_FALSE(check_password_rules("twelve chars\xFF"));
}

TEST(Passwords, AHashFitsItsPasswordAlone) {
    SeededRandom random(1);
    const std::string hash = hash_password("correct horse battery", kCheap, random).value();
    EXPECT_TRUE(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    EXPECT_TRUE(verify_password("correct horse battery", hash, kCheapLimits).value());
    EXPECT_FALSE(verify_password("correct horse batterz", hash, kCheapLimits).value());
    EXPECT_FALSE(verify_password("", hash, kCheapLimits).value());
    EXPECT_NE(hash_password("correct horse battery", kCheap, random).value(), hash);
    EXPECT_EQ(password_hash_cost(hash).value(), kCheap);
}

TEST(Passwords, EveryChangedCharacterOfAHashIsRefusedOrAnotherHash) {
    SeededRandom random(2);
    const std::string hash = hash_password("correct horse battery", kCheap, random).value();
    for (std::size_t i = 0; i < hash.size(); ++i) {
        std::string changed = hash;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        const auto right = verify_password("correct horse battery", changed, kCheapLimits);
        EXPECT_FALSE(right && *right) << changed;
        EXPECT_FALSE(verify_password("correct horse battery", hash.substr(0, i), kCheapLimits));
    }
    EXPECT_FALSE(verify_password("correct horse battery", hash + "A", kCheapLimits));
}

TEST(Passwords, TheCostInTheDatabaseIsBounded) {
    SeededRandom random(3);
    const std::string cheap = hash_password("correct horse battery", kCheap, random).value();
    EXPECT_FALSE(verify_password("correct horse battery", cheap, Argon2Limits{}));
    std::string costly = cheap;
    costly.replace(costly.find("m=8"), 3, "m=4194304");
    EXPECT_EQ(verify_password("correct horse battery", costly, kCheapLimits).error().code(),
              Code::kIntegrity);
}

TEST(Passwords, TheGateTurnsAwayWhoWouldWaitTooLong) {
    PasswordGate gate(1, 0);
    {
        auto inside = gate.enter();
        ASSERT_TRUE(inside);
        EXPECT_EQ(gate.enter().error().code(), Code::kUnavailable);
    }
    EXPECT_TRUE(gate.enter());
}

TEST(Passwords, TheGateHoldsItsLimitAndLetsEverybodyInInTurn) {
    PasswordGate gate(2, 100);
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    std::atomic<int> served{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 16; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 50; ++round) {
                const auto pass = gate.enter();
                const int now = ++inside;
                int seen = most;
                while (now > seen && !most.compare_exchange_weak(seen, now)) {}
                std::this_thread::yield();
                --inside;
                ++served;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(served, 800);
    EXPECT_LE(most, 2);
}

}  // namespace
}  // namespace ostal::security
