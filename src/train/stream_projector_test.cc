// SPDX-License-Identifier: Apache-2.0
// The projector against sums in double and its gradients against central differences.
#include "train/stream_projector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/cosine_rows.h"
#include "train/flat_params.h"

namespace planish {
namespace {

std::vector<float> Floats(uint64_t seed, size_t n) {
  Random random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random.Normal());
  return values;
}

float* ValuesOf(StreamProjector* projector) {
  return reinterpret_cast<float*>(projector->param().weight->mutable_data());
}

TEST(StreamProjector, ProductsAndGradientsAreThoseOfSumsInDouble) {
  const size_t sizes[][3] = {{1, 1, 1}, {2, 3, 1}, {5, 7, 11}, {17, 16, 33}, {31, 64, 48}};
  for (const auto& [T, from, to] : sizes) {
    StreamProjector projector(from, to, 5);
    FlatParams flat({projector.param()});
    std::vector<float> gradient(flat.size(), 0.25f);  // is added to
    flat.BindGradients(gradient.data());
    const std::vector<float> h = Floats(T, T * from), dz = Floats(T + 1, T * to);
    std::vector<float> dh = Floats(T + 2, T * from);
    const std::vector<float> before = dh;
    const float* P = ValuesOf(&projector);
    const float* z = projector.Project(h.data(), T);
    // A sum of n rounded products errs by at most (n + 1) 2^-24 times the sum of their sizes.
    const auto near = [](float found, double sum, double sizes_sum, size_t n) {
      EXPECT_NEAR(found, sum, static_cast<double>(n + 2) * 0x1p-24 * sizes_sum + 1e-30);
    };
    for (size_t t = 0; t < T; ++t)
      for (size_t o = 0; o < to; ++o) {
        double sum = 0, size = 0;
        for (size_t i = 0; i < from; ++i) {
          const double x = static_cast<double>(P[o * from + i]) * h[t * from + i];
          sum += x, size += std::abs(x);
        }
        near(z[t * to + o], sum, size, from);
      }
    std::copy(dz.begin(), dz.end(), projector.Gradient(T));
    projector.Backward(h.data(), T, dh.data());
    for (size_t t = 0; t < T; ++t)
      for (size_t i = 0; i < from; ++i) {
        double sum = before[t * from + i], size = std::abs(sum);
        for (size_t o = 0; o < to; ++o) {
          const double x = static_cast<double>(P[o * from + i]) * dz[t * to + o];
          sum += x, size += std::abs(x);
        }
        near(dh[t * from + i], sum, size, to);
      }
    for (size_t o = 0; o < to; ++o)
      for (size_t i = 0; i < from; ++i) {
        double sum = 0.25, size = 0.25;
        for (size_t t = 0; t < T; ++t) {
          const double x = static_cast<double>(dz[t * to + o]) * h[t * from + i];
          sum += x, size += std::abs(x);
        }
        near(gradient[o * from + i], sum, size, T);
      }
  }
}

TEST(StreamProjector, TheSeedMakesItsValuesAndLengthsAreKept) {
  constexpr size_t kFrom = 48, kTo = 400;
  StreamProjector one(kFrom, kTo, 1), same(kFrom, kTo, 1), other(kFrom, kTo, 2);
  const std::vector<float> a(ValuesOf(&one), ValuesOf(&one) + kFrom * kTo);
  EXPECT_EQ(a, std::vector<float>(ValuesOf(&same), ValuesOf(&same) + kFrom * kTo));
  EXPECT_NE(a, std::vector<float>(ValuesOf(&other), ValuesOf(&other) + kFrom * kTo));
  double squares = 0;
  for (const float x : a) squares += static_cast<double>(x) * x;
  // A chi-squared of 19,200 degrees: its standard deviation is 1 % of the mean.
  EXPECT_NEAR(squares / static_cast<double>(a.size()) * kFrom, 1, 0.06);
}

// loss = sum_t 1 - cos(P h_t, r_t), along each of its gradients; f32 rounding of T losses over the step and the cubic term stay
// below 1e-3 of the slope.
TEST(StreamProjector, GradientsOfTheCosineThroughItAreCentralDifferences) {
  constexpr size_t kRows = 9, kFrom = 12, kTo = 20;
  StreamProjector projector(kFrom, kTo, 3);
  FlatParams flat({projector.param()});
  std::vector<float> dP(flat.size()), h = Floats(1, kRows * kFrom), dh(h.size());
  const std::vector<float> reference = Floats(2, kRows * kTo);
  std::vector<uint8_t> mask(kRows, 1);
  mask[4] = 0;
  flat.BindGradients(dP.data());
  const auto loss = [&](bool has_gradient) {
    std::vector<double> losses(kRows);
    const float* z = projector.Project(h.data(), kRows);
    float* dz = has_gradient ? projector.Gradient(kRows) : nullptr;
    CosineRows(z, reference.data(), mask.data(), kRows, kTo, 1, losses.data(), dz);
    if (has_gradient) projector.Backward(h.data(), kRows, dh.data());
    double sum = 0;
    for (const double x : losses) sum += x;
    return sum;
  };
  EXPECT_GT(loss(true), 1);
  for (size_t i = 0; i < kFrom; ++i) EXPECT_EQ(dh[4 * kFrom + i], 0) << "a masked row";
  const auto expect_slope = [&](float* values, const std::vector<float>& gradient, size_t n) {
    double slope = 0;
    for (size_t i = 0; i < n; ++i) slope += static_cast<double>(gradient[i]) * gradient[i];
    ASSERT_GT(slope, 0.1);
    const auto step = static_cast<float>(1e-2 / std::sqrt(slope));
    const std::vector<float> before(values, values + n);
    double ends[2];
    for (const int side : {0, 1}) {
      for (size_t i = 0; i < n; ++i)
        values[i] = before[i] + (side == 1 ? step : -step) * gradient[i];
      ends[side] = loss(false);
    }
    std::copy(before.begin(), before.end(), values);
    EXPECT_NEAR((ends[1] - ends[0]) / (2 * static_cast<double>(step)), slope, 1e-3 * slope);
  };
  expect_slope(h.data(), dh, h.size());
  expect_slope(ValuesOf(&projector), dP, kFrom * kTo);
}

TEST(StreamProjector, ThreadsChangeNoBit) {
  constexpr size_t kRows = 65, kFrom = 40, kTo = 56;
  const std::vector<float> h = Floats(1, kRows * kFrom), dz = Floats(2, kRows * kTo);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    SetThreadCount(threads);
    StreamProjector projector(kFrom, kTo, 3);
    FlatParams flat({projector.param()});
    std::vector<float> all(flat.size()), dh(h.size());
    flat.BindGradients(all.data());
    const float* z = projector.Project(h.data(), kRows);
    all.insert(all.end(), z, z + kRows * kTo);
    flat.BindGradients(all.data());
    std::copy(dz.begin(), dz.end(), projector.Gradient(kRows));
    projector.Backward(h.data(), kRows, dh.data());
    all.insert(all.end(), dh.begin(), dh.end());
    results.push_back(std::move(all));
  }
  SetThreadCount(0);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace planish
