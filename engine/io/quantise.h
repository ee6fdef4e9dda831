// f32 values to blocks of Q8_0 and Q4_0.
//
// Layouts: engine/core/dtype.h. Rule, after quantize_row_q8_0_ref and quantize_row_q4_0_ref of the ggml
// project with one difference: d is rounded to f16 before values are divided by it, and away from zero, so
// that its rounding does not add to theirs and no value lies past the last q. Of a block of 32, extreme is
// the value of largest magnitude (the first of equals):
//   q8_0: d = |extreme| / 127,  q = x / d to the nearest integer (halves to even)
//   q4_0: d = extreme / -8,     q = x / d + 8 to the nearest integer (halves to even), at most 15
// A block of zeros has d = 0. Error: at most half of d; in q4_0 at most d where x / d > 7.5, since its q end
// one step earlier on that side.
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/core/dtype.h"

namespace ostal::engine {

// `to` is kQ8_0 or kQ4_0, values are whole blocks, `out` has exactly their bytes: CHECK.
// kUnsupported when a block needs a scale above f16's largest (names the value's index); values are finite.
Status quantise(DType to, std::span<const float> values, MutableByteSpan out);

}  // namespace ostal::engine
