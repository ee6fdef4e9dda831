#include "appliance/core/work_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>

namespace ostal {
namespace {

class CountingLog final : public LogSink {
public:
    void write(LogLevel level, std::string_view, std::initializer_list<LogField>) override {
        if (level == LogLevel::kError) ++errors;
    }
    std::atomic<int> errors{0};
};

TEST(WorkPool, AJobThatThrowsIsDroppedAndTheOthersRun) {
    CountingLog log;
    WorkPool pool("test-work", 1, 8, log);
    const auto held = std::make_shared<int>(0);
    std::atomic<int> ran{0};
    ASSERT_TRUE(pool.try_run([held] { throw std::runtime_error("job"); }));
    ASSERT_TRUE(pool.try_run([] { throw 7; }));
    ASSERT_TRUE(pool.try_run([&] { ++ran; }));
    pool.stop();
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(log.errors, 2);
    EXPECT_EQ(held.use_count(), 1);  // what the job held is gone with it
}

TEST(WorkPool, AFullOrStoppedPoolTakesNothing) {
    NullLog log;
    WorkPool pool("test-work", 0, 1, log);
    EXPECT_TRUE(pool.try_run([] {}));
    EXPECT_FALSE(pool.try_run([] {}));
    pool.stop();
    EXPECT_FALSE(pool.try_run([] {}));
}

}  // namespace
}  // namespace ostal
