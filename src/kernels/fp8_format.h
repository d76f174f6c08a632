// SPDX-License-Identifier: Apache-2.0
// The numbers of the FP8 formats for rounding in float arithmetic (fp8_quantize.cc).
#pragma once

#include <cstdint>

namespace planish {

struct Fp8Numbers {
  float largest;
  float overflow;  // from here on a value rounds beyond the largest
  float normal;    // least normal number
  float magic;     // 1.5 * 2^23 times the step of subnormal numbers: adding it rounds to that step
  int dropped;     // bits of a float's mantissa
};
inline constexpr Fp8Numbers kFp8Numbers[] = {{448.0f, 464.0f, 0x1p-6f, 0x1.8p14f, 20},       // E4M3
                                             {57344.0f, 61440.0f, 0x1p-14f, 0x1.8p7f, 21}};  // E5M2

struct Fp8Counts {
  uint32_t saturated = 0, underflow = 0;
};

}  // namespace planish
