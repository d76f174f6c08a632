// SPDX-License-Identifier: Apache-2.0
// Sum of squares of floats in double, for gradient and weight norms: s_j = sum of x[i]^2 over i mod 16 = j, then
// s_0 + s_1 + ... + s_15. A square of a float is exact in double, so every SIMD level gives the same bits.
#pragma once

#include <cstddef>

namespace planish {

// x: [n]. Infinite or NaN exactly when an element is: squares of finite floats stay far below the range of double.
double SumOfSquares(const float* x, size_t n) noexcept;

}  // namespace planish
