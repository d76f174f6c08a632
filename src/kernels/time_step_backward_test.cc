// SPDX-License-Identifier: Apache-2.0
#include "kernels/time_step_backward.h"

#include <limits>

#include "kernels/gradient_testing.h"
#include "kernels/kernel_testing.h"
#include "kernels/reference.h"
#include "kernels/ssm_scan.h"

namespace planish {
namespace {

TEST(TimeStepBackward, MatchesTheSlopeOfSoftplusWithinTheClamp) {
  ForEachSimdLevel([] {
    Random random(61);
    for (size_t H : {1u, 3u, 16u, 17u, 67u}) {
      for (size_t T : {1u, 2u, 65u, 200u}) {
        for (const auto& [lo, hi] :
             {std::pair{0.0f, std::numeric_limits<float>::infinity()}, std::pair{0.5f, 4.0f}}) {
          for (const bool is_half : {false, true}) {
            const size_t raw_stride = H + 3, draw_stride = H + 5;
            const auto raw = RandomFloats(random, T * raw_stride, 3.0);
            const auto bias = RandomFloats(random, H), ddt = RandomFloats(random, T * H);
            std::vector<float> dt(T * H), draw(T * draw_stride), dbias(H, 2.0f);
            std::vector<uint16_t> halves(draw.size());
            PrepareDt(raw.data(), raw_stride, bias.data(), T, H, lo, hi, dt.data());
            PrepareDtBackward({.raw = raw.data(),
                               .raw_stride = raw_stride,
                               .bias = bias.data(),
                               .dt = dt.data(),
                               .lo = lo,
                               .hi = hi,
                               .ddt = ddt.data(),
                               .type = is_half ? DType::kBF16 : DType::kF32,
                               .draw = is_half ? static_cast<void*>(halves.data()) : draw.data(),
                               .draw_stride = draw_stride},
                              T, H, dbias.data());
            std::vector<float> found(T * H);
            std::vector<double> want(T * H), want_bias(H, 2.0), bias_bound(H, 2 * kRoundoff);
            for (size_t i = 0; i < want.size(); ++i) {
              const size_t h = i % H;
              const double at = static_cast<double>(raw[i / H * raw_stride + h]) + bias[h];
              const bool is_free = dt[i] > lo && dt[i] < hi;
              // The kernel's own dt decides at the border; elsewhere softplus does.
              const double step = reference::Softplus(at);
              if (std::abs(step - lo) > 1e-5 && std::abs(step - hi) > 1e-5) {
                EXPECT_EQ(is_free, step > lo && step < hi);
              }
              want[i] = is_free ? ddt[i] * reference::Sigmoid(at) : 0;
              want_bias[h] += want[i];
              bias_bound[h] += std::abs(want[i]) * kRoundoff * (static_cast<double>(T) + 20);
              const size_t from = i / H * draw_stride + h;
              found[i] = is_half ? FloatFromBF16(halves[from]) : draw[from];
            }
            // The sum raw + bias is rounded: off by |at| roundings in the exponent.
            ExpectWithin(
                found.data(), want,
                [&](size_t i) {
                  return std::abs(want[i]) * (kRoundoff * 40 + (is_half ? kHalfRoundoff : 0));
                },
                "draw");
            ExpectWithin(
                dbias.data(), want_bias,
                [&](size_t h) { return bias_bound[h] + 2 * kRoundoff * std::abs(want_bias[h]); },
                "dbias");
          }
        }
      }
    }
  });
}

TEST(TimeStepBackward, SlopeIsThatOfCentralDifferences) {
  std::vector<double> raw = {-30, -8, -1, 0, 0.3, 2, 7, 19, 25};
  const auto loss = [&] {
    double sum = 0;
    for (const double v : raw) sum += reference::Softplus(v);
    return sum;
  };
  EXPECT_LT(WorstSlope(raw, loss, [&](size_t i) { return reference::Sigmoid(raw[i]); }), 1e-8);
}

}  // namespace
}  // namespace planish
