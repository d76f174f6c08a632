// SPDX-License-Identifier: Apache-2.0
#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"

namespace planish {

Interval WilsonInterval(double hits, size_t n) {
  if (n == 0) return {};
  constexpr double z = 1.96;
  const double count = static_cast<double>(n), p = hits / count;
  const double middle = p + z * z / (2 * count);
  const double half = z * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count));
  const double scale = 1 + z * z / count;
  // Rounding must not keep the ends from being reached.
  return {hits == 0 ? 0.0 : (middle - half) / scale, hits == count ? 1.0 : (middle + half) / scale};
}

Interval BootstrapInterval(const std::vector<double>& item_scores) {
  if (item_scores.empty()) return {};
  constexpr size_t kResamplings = 10'000;
  Random random(/*seed=*/1234);
  std::vector<double> means(kResamplings);
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < item_scores.size(); ++i)
      sum += item_scores[random.Bits() % item_scores.size()];  // bias below n / 2^32
    mean = sum / static_cast<double>(item_scores.size());
  }
  return {Quantile(means, 0.025), Quantile(means, 0.975)};
}

double Mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double StandardError(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(sum / (n - 1) / n);
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace planish
