#include "engine/core/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace ostal::engine {
namespace {

TEST(Arena, HoldsExactlyWhatThePlanAddedUp) {
    ArenaPlan plan;
    plan.allocate(DType::kF32, {3, 5});    // 60 bytes: one line of 64
    plan.allocate(DType::kQ4_0, {2, 64});  // 72 bytes: two lines
    EXPECT_EQ(plan.bytes(), 64 + 128);
    auto arena = Arena::create("a test", plan.bytes());
    ASSERT_TRUE(arena);
    const View first = arena->allocate(DType::kF32, {3, 5});
    const View second = arena->allocate(DType::kQ4_0, {2, 64});
    EXPECT_EQ(static_cast<char*>(second.data) - static_cast<char*>(first.data), 64);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.data) % 64, 0U);
    for (int i = 0; i < 15; ++i) EXPECT_EQ(first.as<float>()[i], 0.0F);
}

TEST(Arena, MovesItsMemory) {
    auto made = Arena::create("a test", 4096);
    ASSERT_TRUE(made);
    Arena arena = std::move(*made);
    const View view = arena.allocate(DType::kI32, {4});
    view.as<std::int32_t>()[3] = 7;
    Arena other;
    other = std::move(arena);
    EXPECT_EQ(other.range().data(), view.data);
    EXPECT_EQ(view.as<std::int32_t>()[3], 7);
}

TEST(Arena, RefusesWhatTheSystemDoesNotHave) {
    const auto arena = Arena::create("the weights", std::int64_t{1} << 60);
    ASSERT_FALSE(arena);
    EXPECT_EQ(arena.error().code(), Code::kResourceExhausted);
    EXPECT_NE(arena.error().message().find("the weights"), std::string::npos);
}

TEST(ArenaDeathTest, IsNotOverdrawnNorWrittenAfterItIsReadOnly) {
    auto arena = Arena::create("a test", 4096);
    ASSERT_TRUE(arena);
    const View view = arena->allocate(DType::kF32, {1024});
    EXPECT_DEATH(arena->allocate(DType::kF32, {1}), "CHECK|used_");
    ASSERT_TRUE(arena->make_read_only());
    EXPECT_DEATH(*static_cast<volatile float*>(view.as<float>()) = 1.0F, "");
}

}  // namespace
}  // namespace ostal::engine
