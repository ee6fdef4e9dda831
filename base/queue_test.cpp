#include "base/queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace ostal {
namespace {

TEST(BoundedQueue, RefusesWhenFullAndDrainsAfterClose) {
    BoundedQueue<int> queue(2);
    EXPECT_TRUE(queue.try_push(1));
    EXPECT_TRUE(queue.try_push(2));
    EXPECT_FALSE(queue.try_push(3));
    queue.close();
    EXPECT_FALSE(queue.try_push(4));
    EXPECT_EQ(queue.pop(), 1);
    EXPECT_EQ(queue.pop(), 2);
    EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(BoundedQueue, ManyProducersLoseNothing) {
    BoundedQueue<int> queue(8);
    std::vector<std::thread> producers;
    for (int p = 0; p < 4; ++p) {
        producers.emplace_back([&] {
            for (int i = 1; i <= 1000; ++i) ASSERT_TRUE(queue.push(i));
        });
    }
    long sum = 0;
    for (int i = 0; i < 4000; ++i) sum += *queue.pop();
    for (auto& producer : producers) producer.join();
    EXPECT_EQ(sum, 4L * 1000 * 1001 / 2);
}

TEST(SpscQueue, KeepsOrderAcrossThreads) {
    SpscQueue<int> queue(4);
    std::thread producer([&] {
        for (int i = 0; i < 20000;) {
            if (queue.try_push(i)) {
                ++i;
            } else {
                std::this_thread::yield();
            }
        }
    });
    for (int expected = 0; expected < 20000;) {
        if (const auto value = queue.try_pop()) {
            ASSERT_EQ(*value, expected++);
        } else {
            std::this_thread::yield();
        }
    }
    producer.join();
    EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace ostal
