// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm_backward.h"

#include "kernels/kernel_testing.h"
#include "kernels/reference.h"

namespace planish {
namespace {

constexpr double kEps = 1e-5;

struct Gradients {
  std::vector<double> dx, dw;
};

// The formula in double.
Gradients Reference(const std::vector<double>& x, const std::vector<double>& w,
                    const std::vector<double>& dy, size_t T, size_t D) {
  Gradients g{std::vector<double>(T * D), std::vector<double>(D)};
  for (size_t t = 0; t < T; ++t) {
    double squares = 0, product = 0;
    for (size_t d = 0; d < D; ++d) {
      squares += x[t * D + d] * x[t * D + d];
      product += w[d] * dy[t * D + d] * x[t * D + d];
    }
    const double r = 1 / std::sqrt(squares / D + kEps);
    for (size_t d = 0; d < D; ++d) {
      const size_t i = t * D + d;
      g.dx[i] = r * (w[d] * dy[i] - x[i] * r * r * product / D);
      g.dw[d] += dy[i] * x[i] * r;
    }
  }
  return g;
}

TEST(NormBackward, TheReferenceAgreesWithCentralDifferences) {
  Random random(7);
  const size_t T = 3, D = 5;
  auto x = Widen(RandomFloats(random, T * D)), w = Widen(RandomFloats(random, D));
  const auto dy = Widen(RandomFloats(random, T * D));
  const Gradients g = Reference(x, w, dy, T, D);
  const auto loss = [&] {
    std::vector<double> y(T * D);
    reference::RmsNorm(x.data(), w.data(), T, D, kEps, y.data());
    double sum = 0;
    for (size_t i = 0; i < T * D; ++i) sum += y[i] * dy[i];
    return sum;
  };
  const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    for (size_t i = 0; i < values.size(); ++i) {
      const double at = values[i], step = 1e-5;
      values[i] = at + step;
      const double up = loss();
      values[i] = at - step;
      const double down = loss();
      values[i] = at;
      EXPECT_NEAR((up - down) / (2 * step), gradient[i], 1e-8);
    }
  };
  check(x, g.dx);
  check(w, g.dw);
}

TEST(NormBackward, AgreesWithTheReferenceAssignedAndAdded) {
  ForEachSimdLevel([] {
    Random random(8);
    for (const size_t D : kTestSizes) {
      for (const size_t T : {1, 2, 67}) {
        const auto x = RandomFloats(random, T * D), w = RandomFloats(random, D),
                   dy = RandomFloats(random, T * D), start = RandomFloats(random, T * D),
                   dw_start = RandomFloats(random, D);
        const Gradients want = Reference(Widen(x), Widen(w), Widen(dy), T, D);
        // Absolute terms of the sums, times a rounding for each addition on the way.
        const Gradients size = [&] {
          Gradients s{std::vector<double>(T * D), std::vector<double>(D)};
          for (size_t t = 0; t < T; ++t) {
            double squares = 0, product = 0;
            for (size_t d = 0; d < D; ++d) {
              squares += static_cast<double>(x[t * D + d]) * x[t * D + d];
              product += std::abs(static_cast<double>(w[d]) * dy[t * D + d] * x[t * D + d]);
            }
            const double r = 1 / std::sqrt(squares / static_cast<double>(D) + kEps);
            for (size_t d = 0; d < D; ++d) {
              const size_t i = t * D + d;
              s.dx[i] = r * (std::abs(static_cast<double>(w[d]) * dy[i]) +
                             std::abs(x[i]) * r * r * product / static_cast<double>(D));
              s.dw[d] += std::abs(static_cast<double>(dy[i]) * x[i]) * r;
            }
          }
          return s;
        }();
        const double steps = static_cast<double>(D) / 4 + 16;
        const auto dx_bound = [&](size_t i) {
          return kRoundoff * (steps * size.dx[i] + 2 * std::abs(start[i]));
        };
        const auto dw_bound = [&](size_t d) {
          return kRoundoff * (static_cast<double>(T) + steps) *
                 (size.dw[d] + std::abs(dw_start[d]));
        };
        std::vector<float> dx(T * D, NAN), dw = dw_start;
        RmsNormBackward(x.data(), w.data(), dy.data(), T, D, kEps, dx.data(), dw.data());
        ExpectWithin(dx.data(), want.dx, dx_bound, "dx");
        std::vector<double> want_dw = want.dw, want_sum = want.dx;
        for (size_t d = 0; d < D; ++d) want_dw[d] += dw_start[d];
        ExpectWithin(dw.data(), want_dw, dw_bound, "dw");
        for (size_t i = 0; i < T * D; ++i) want_sum[i] += start[i];
        std::vector<float> dh = start;
        AddRmsNormBackward(x.data(), w.data(), dy.data(), T, D, kEps, dh.data(), nullptr);
        ExpectWithin(dh.data(), want_sum, dx_bound, "dh");
      }
    }
  });
}

TEST(NormBackward, ThreadsChangeNoBit) {
  Random random(9);
  const size_t T = 700, D = 96;
  const auto x = RandomFloats(random, T * D), w = RandomFloats(random, D),
             dy = RandomFloats(random, T * D);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    std::vector<float> dx(T * D), dw(D, 0.5f);
    RmsNormBackward(x.data(), w.data(), dy.data(), T, D, kEps, dx.data(), dw.data());
    dx.insert(dx.end(), dw.begin(), dw.end());
    results.push_back(dx);
  }
  ExpectSameBits(results[0], results[1], "two threads");
  ExpectSameBits(results[0], results[2], "three threads");
}

}  // namespace
}  // namespace planish
