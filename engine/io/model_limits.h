// The largest models that are read, whatever the file format; larger numbers in a file are errors.
#pragma once

#include <cstdint>

namespace ostal::engine {

inline constexpr std::int64_t kMaxLayers = 1024;
inline constexpr std::int64_t kMaxDim = 1 << 17;
inline constexpr std::int64_t kMaxHeads = 1024;
inline constexpr std::int64_t kMaxHeadDim = 1024;
inline constexpr std::int64_t kMaxFfn = 1 << 20;
inline constexpr std::int64_t kMaxExperts = 256;
inline constexpr std::int64_t kMaxVocab = 1 << 21;
inline constexpr std::int64_t kMaxContext = 1 << 24;
inline constexpr double kLeastRopeTheta = 1.0;
inline constexpr double kMaxRopeTheta = 1e12;
inline constexpr double kMaxRopeFactor = 65536.0;  // of a RoPE scaling
inline constexpr double kLeastNormEps = 1e-12;     // well above the least float
inline constexpr double kMaxNormEps = 1.0;

}  // namespace ostal::engine
