// SPDX-License-Identifier: Apache-2.0
#include "data/round_robin.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <string>

#include "base/error.h"

namespace planish {
namespace {

constexpr uint64_t kMaxParts = uint64_t{1} << 20;

// A positive number as digits * 10^exponent, from its shortest decimal spelling.
struct Decimal {
  uint64_t digits = 0;
  int exponent = 0;
};

Decimal ToDecimal(double value) {
  Decimal out;
  const std::string text = fmt::format("{}", value);  // "0.7", "12", "1e-05"
  const size_t mark = std::min(text.find('e'), text.size());
  if (mark < text.size()) out.exponent = std::atoi(text.c_str() + mark + 1);
  bool after_point = false;
  for (const char c : text.substr(0, mark)) {
    if (c == '.') {
      after_point = true;
      continue;
    }
    out.digits = out.digits * 10 + static_cast<uint64_t>(c - '0');
    out.exponent -= after_point;
  }
  while (out.digits % 10 == 0) {
    out.digits /= 10;
    ++out.exponent;
  }
  return out;
}

std::optional<std::vector<uint64_t>> ExactParts(const std::vector<double>& weights,
                                                uint64_t max_parts) {
  std::vector<Decimal> decimals;
  int exponent = INT32_MAX;
  for (const double weight : weights) {
    decimals.push_back(ToDecimal(weight));
    exponent = std::min(exponent, decimals.back().exponent);
  }
  std::vector<uint64_t> parts;
  uint64_t divisor = 0;
  for (const Decimal& decimal : decimals) {
    uint64_t part = decimal.digits;
    for (int i = exponent; i < decimal.exponent; ++i) {
      if (part > UINT64_MAX / 10) return std::nullopt;
      part *= 10;
    }
    parts.push_back(part);
    divisor = std::gcd(divisor, part);
  }
  uint64_t sum = 0;
  for (uint64_t& part : parts) {
    part /= divisor;
    if (part > max_parts - sum) return std::nullopt;
    sum += part;
  }
  return parts;
}

std::vector<uint64_t> RoundedParts(const std::vector<double>& weights, uint64_t max_parts) {
  const double largest = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (const double weight : weights) sum += weight / largest;  // no overflow
  std::vector<uint64_t> parts;
  std::vector<double> rests;
  uint64_t given = 0;
  for (const double weight : weights) {
    const double exact = weight / largest / sum * static_cast<double>(max_parts);
    parts.push_back(std::max<uint64_t>(1, static_cast<uint64_t>(exact)));
    rests.push_back(exact - static_cast<double>(parts.back()));
    given += parts.back();
  }
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rests[a] > rests[b]; });
  for (size_t i = 0; i < order.size() && given < max_parts; ++i, ++given) ++parts[order[i]];
  uint64_t divisor = 0;
  for (const uint64_t part : parts) divisor = std::gcd(divisor, part);
  for (uint64_t& part : parts) part /= divisor;
  return parts;
}

}  // namespace

std::vector<uint64_t> PartsOf(const std::vector<double>& weights) {
  PLANISH_CHECK(!weights.empty());
  for (const double weight : weights) PLANISH_CHECK(std::isfinite(weight) && weight > 0);
  // One period costs members * parts to lay out: at most 2^26.
  const uint64_t max_parts = std::max<uint64_t>(
      2 * weights.size(), std::min(kMaxParts, (kMaxParts * 64) / weights.size()));
  if (auto exact = ExactParts(weights, max_parts)) return *exact;
  return RoundedParts(weights, max_parts);
}

RoundRobin::RoundRobin(std::vector<uint64_t> parts) : parts_(std::move(parts)) {
  uint64_t sum = 0;
  for (const uint64_t part : parts_) {
    PLANISH_CHECK(part > 0);
    sum += part;
  }
  chosen_.reserve(sum);
  positions_.resize(parts_.size());
  std::vector<int64_t> deficits(parts_.size());  // w_d n - W count_d
  for (uint64_t n = 0; n < sum; ++n) {
    size_t best = 0;
    for (size_t d = 0; d < parts_.size(); ++d) {
      deficits[d] += static_cast<int64_t>(parts_[d]);
      if (deficits[d] > deficits[best]) best = d;
    }
    deficits[best] -= static_cast<int64_t>(sum);
    chosen_.push_back(static_cast<uint32_t>(best));
    positions_[best].push_back(static_cast<uint32_t>(n));
  }
}

RoundRobin::Draw RoundRobin::At(uint64_t n) const {
  const uint32_t member = chosen_[n % period()];
  return {member, CountBefore(member, n)};
}

uint64_t RoundRobin::CountBefore(uint32_t member, uint64_t n) const {
  const std::vector<uint32_t>& positions = positions_[member];
  const auto here = std::lower_bound(positions.begin(), positions.end(), n % period());
  return n / period() * parts_[member] + static_cast<uint64_t>(here - positions.begin());
}

uint64_t RoundRobin::PositionOf(uint32_t member, uint64_t nth) const {
  const uint64_t part = parts_[member];
  const __uint128_t position =
      static_cast<__uint128_t>(nth / part) * period() + positions_[member][nth % part];
  return position > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(position);
}

}  // namespace planish
