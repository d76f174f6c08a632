// SPDX-License-Identifier: Apache-2.0
// What the tests of the float kernels share: every SIMD level in turn, random inputs, comparison under a computed bound,
// comparison of bits. Included by *_test.cc only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "hwy/highway.h"
#include "kernels/isa.h"
#include "kernels/simd_targets.h"

namespace planish {

// Unit roundoff of float: one rounding is off by at most this, relatively.
inline constexpr double kRoundoff = 0x1p-24;
// The same of an addition in a bf16 product at the level in use: Arm's units round to odd, which is off by up to a whole unit
// in the last place.
inline double Bf16Roundoff() { return Has(Isa::kI8mm) ? 2 * kRoundoff : kRoundoff; }

// Sizes around the vector widths of every level, primes, and a large one.
inline const std::vector<size_t> kTestSizes = {1,  2,  3,  4,  5,  7,  8,  9,  15,  16,
                                               17, 31, 32, 33, 61, 64, 65, 67, 257, 1280};

// Sets the team's size for one scope.
class ThreadCountScope {
 public:
  explicit ThreadCountScope(int count) : before_(ThreadCount()) { SetThreadCount(count); }
  ~ThreadCountScope() { SetThreadCount(before_); }

 private:
  int before_;
};

// Calls body() once per SIMD level this CPU has; best level again afterwards. On one thread: thousands of tiny parallel
// regions would take minutes on a busy machine, and threads have tests of their own.
template <class Body>
void ForEachSimdLevel(const Body& body) {
  const ThreadCountScope scope(1);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
    hwy::SetSupportedTargetsForTest(0);
    if (::testing::Test::HasFailure()) return;
  }
}

inline std::vector<float> RandomFloats(Random& random, size_t n, double scale = 1.0) {
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(scale * random.Normal());
  return values;
}

inline std::vector<float> UniformFloats(Random& random, size_t n, double low, double high) {
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(low + (high - low) * random.Uniform());
  return values;
}

template <class T>
std::vector<double> Widen(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}
template <class T>
std::vector<double> Magnitudes(const std::vector<T>& values) {
  std::vector<double> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[i] = std::abs(static_cast<double>(values[i]));
  return result;
}

// |got - want| <= bound(i) for all i; reports the worst index, both values and the bound.
template <class Bound>
void ExpectWithin(const float* got, const std::vector<double>& want, const Bound& bound,
                  const char* what) {
  size_t worst = 0;
  double worst_ratio = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    const double ratio = error / (bound(i) + 1e-37);  // below: subnormal results
    if (!(ratio <= worst_ratio)) {
      worst = i;
      worst_ratio = ratio;
      if (std::isnan(ratio)) break;
    }
  }
  EXPECT_LE(worst_ratio, 1.0) << what << "[" << worst << "] is " << got[worst] << ", want "
                              << want[worst] << ", bound " << bound(worst);
}

inline void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b,
                           const char* what) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0) return;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0)
        << what << "[" << i << "]: " << a[i] << " and " << b[i];
  }
}

}  // namespace planish
