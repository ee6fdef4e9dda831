// Philox4x32-10: a counter-based generator of random bits.
//
// The output is a pure function of (key, counter), so a draw needs no state that would have to be carried
// along, saved at preemption or shared between sequences.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11, section 3.3 and
// table 2 (constants 0xD2511F53, 0xCD9E8D57; Weyl increments 0x9E3779B9, 0xBB67AE85; 10 rounds).
#pragma once

#include <array>
#include <cstdint>

namespace ostal::engine {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

inline PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * counter[0];
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32U) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32U) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product0)};
        key[0] += 0x9E3779B9U;
        key[1] += 0xBB67AE85U;
    }
    return counter;
}

// Uniform in [0, 1): the 53 upper bits of the first two words.
inline double philox_uniform(const PhiloxCounter& counter, const PhiloxKey& key) {
    const PhiloxCounter words = philox4x32_10(counter, key);
    const std::uint64_t bits = (std::uint64_t{words[0]} << 32U) | words[1];
    return static_cast<double>(bits >> 11U) * 0x1.0p-53;
}

}  // namespace ostal::engine
