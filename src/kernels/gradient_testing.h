// SPDX-License-Identifier: Apache-2.0
// Central differences in double, for checking the references of gradients. Included by *_test.cc only.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace planish {

// The largest |slope - gradient_of(i)| / (1 + |slope|) over all values, slope being that of loss() along value i.
template <class Loss, class GradientOf>
double WorstSlope(std::vector<double>& values, const Loss& loss, const GradientOf& gradient_of) {
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double kept = values[i], step = 1e-5 * (1 + std::abs(kept));
    values[i] = kept + step;
    const double above = loss();
    values[i] = kept - step;
    const double below = loss();
    values[i] = kept;
    const double slope = (above - below) / (2 * step);
    worst = std::max(worst, std::abs(slope - gradient_of(i)) / (1 + std::abs(slope)));
  }
  return worst;
}
template <class Loss>
double WorstSlope(std::vector<double>& values, const Loss& loss,
                  const std::vector<double>& gradient) {
  return WorstSlope(values, loss, [&](size_t i) { return gradient[i]; });
}

// Unit roundoff of bf16.
inline constexpr double kHalfRoundoff = 0x1p-8;

}  // namespace planish
