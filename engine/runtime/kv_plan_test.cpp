#include "engine/runtime/kv_plan.h"

#include <gtest/gtest.h>

namespace ostal::engine {
namespace {

constexpr std::int64_t kRam = 16'000;

EngineConfig config_of(std::int32_t block_tokens, std::int64_t bytes) {
    EngineConfig config;
    config.kv_block_tokens = block_tokens;
    config.kv_cache_bytes = bytes;
    return config;
}

TEST(KvPlan, ByDefaultEightSequencesOfFullContext) {
    const auto plan = plan_kv_cache(config_of(16, 0), 100, 1, kRam);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->blocks, 8 * 7);
    EXPECT_EQ(plan->context_length, 100);
}

TEST(KvPlan, ByDefaultAtMostAQuarterOfTheMemory) {
    const auto plan = plan_kv_cache(config_of(16, 0), 100, 200, kRam);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->blocks, 20);
    EXPECT_EQ(plan->context_length, 100);
    // Not even one sequence: the context is what fits.
    const auto tight = plan_kv_cache(config_of(16, 0), 100, 1000, kRam);
    ASSERT_TRUE(tight.has_value());
    EXPECT_EQ(tight->blocks, 4);
    EXPECT_EQ(tight->context_length, 64);
}

TEST(KvPlan, AGivenSizeIsTakenAsItIsButNeverMoreThanCanBeUsed) {
    EngineConfig config = config_of(16, 90'000);
    config.max_sequences = 3;
    EXPECT_EQ(plan_kv_cache(config, 100, 10'000, kRam)->blocks, 9);
    EXPECT_EQ(plan_kv_cache(config, 100, 1, kRam)->blocks, 3 * 7);
    EXPECT_EQ(plan_kv_cache(config, 2'000'000'000, 1, kRam)->blocks, 90'000);
}

TEST(KvPlan, TheConfiguredContextCounts) {
    EngineConfig config = config_of(16, 0);
    config.max_context_tokens = 40;
    EXPECT_EQ(plan_kv_cache(config, 100, 1, kRam)->context_length, 40);
    EXPECT_EQ(plan_kv_cache(config, 100, 1, kRam)->blocks, 8 * 3);
    EXPECT_EQ(plan_kv_cache(config, 30, 1, kRam)->context_length, 30);
}

TEST(KvPlan, TooLittleForAnythingIsAnErrorThatSaysHowMuch) {
    const auto plan = plan_kv_cache(config_of(16, 99), 100, 100, kRam);
    ASSERT_FALSE(plan.has_value());
    EXPECT_EQ(plan.error().code(), Code::kInvalidArgument);
    EXPECT_NE(plan.error().message().find("kv_cache_bytes"), std::string::npos);
    EXPECT_FALSE(plan_kv_cache(config_of(1, 100), 100, 100, kRam).has_value());
    EXPECT_TRUE(plan_kv_cache(config_of(1, 200), 100, 100, kRam).has_value());
}

}  // namespace
}  // namespace ostal::engine
