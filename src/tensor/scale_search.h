// SPDX-License-Identifier: Apache-2.0
// Least-squares scales of a group of values on a grid: x ~ step q + offset with q a whole number, or x ~ step c(q) with c a
// table. Errors are sums of w (x - value)^2. The best codes of given scales are the nearest ones and the best scales of given
// codes follow from linear equations, so a search tries some starts and improves the best of them in turns. The length of a
// group is a multiple of 8; values are finite, and zero or at least 1e-20 in magnitude.
#pragma once

#include <cstdint>

namespace planish {

// Codes 0 ... levels stand for low ... low + levels, or for the entries of `table`.
struct CodeRange {
  int low = 0, levels = 0;
  const int8_t* table = nullptr;  // [levels + 1], rising
};

// The code whose value is nearest to v, v in units of the step and without the offset.
int NearestCode(const CodeRange& range, float v) noexcept;

struct AffineScale {
  float step = 0, offset = 0;  // step >= 0
};
// range.low is 0. `offset` <= 0 unless has_any_offset.
AffineScale FitAffine(const float* x, const float* w, int n, const CodeRange& range,
                      bool has_any_offset) noexcept;
// The step, of either sign.
float FitStep(const float* x, const float* w, int n, const CodeRange& range) noexcept;

// What the nearest codes leave.
float GridError(const float* x, const float* w, int n, const CodeRange& range, float step,
                float offset) noexcept;

}  // namespace planish
