// SPDX-License-Identifier: Apache-2.0
// Means with intervals, for scores of few items. All intervals are of 95 %.
#pragma once

#include <cstddef>
#include <vector>

namespace planish {

struct Interval {
  double low = 0, high = 1;
};

// Wilson's score interval of a share: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96. [0, 1] for n = 0.
Interval WilsonInterval(double hits, size_t n);

// Of a mean over items, each with a score of its own (a mean over several answers): percentiles of 10,000 resamplings of the
// items, of a fixed seed. Items, not answers: several answers to one item are no independent evidence.
Interval BootstrapInterval(const std::vector<double>& item_scores);

double Mean(const std::vector<double>& values);  // 0 for none
// Sample standard deviation over sqrt(n), as lm-eval's stderr; 0 for fewer than two.
double StandardError(const std::vector<double>& values);
// Linear between the order statistics around q (n - 1), as numpy's default; 0 for none.
double Quantile(std::vector<double> values, double q);

}  // namespace planish
