// Randomness, injected. Keys and ids come from the operating system through security's RandomSource
// implementation; tests pass a seeded one.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace ostal {

// Thread-safe. fill() never fails: an implementation without entropy aborts.
class RandomSource {
public:
    virtual ~RandomSource() = default;
    virtual void fill(MutableByteSpan out) = 0;
};

// getrandom(2).
class SystemRandom final : public RandomSource {
public:
    void fill(MutableByteSpan out) override;
};

// xoshiro256** seeded by splitmix64; for tests only, never for keys. Not thread-safe.
class SeededRandom final : public RandomSource {
public:
    explicit SeededRandom(std::uint64_t seed);
    void fill(MutableByteSpan out) override;
    std::uint64_t next();
    // Uniform in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound);

private:
    std::uint64_t state_[4];
};

}  // namespace ostal
