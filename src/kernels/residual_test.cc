// SPDX-License-Identifier: Apache-2.0
#include "kernels/residual.h"

#include "kernels/kernel_testing.h"
#include "kernels/norm.h"

namespace planish {
namespace {

TEST(Residual, AddRmsNormHasTheBitsOfAnAdditionAndRmsNorm) {
  ForEachSimdLevel([] {
    Random random(3);
    for (const size_t D : kTestSizes) {
      for (const size_t T : {1, 3, 40}) {
        const auto y = RandomFloats(random, T * D), w = RandomFloats(random, D);
        auto h = RandomFloats(random, T * D);
        std::vector<float> sum(T * D), want(T * D), got(T * D);
        for (size_t i = 0; i < T * D; ++i) sum[i] = h[i] + y[i];
        RmsNorm(sum.data(), w.data(), T, D, 1e-5f, want.data());
        AddRmsNorm(y.data(), w.data(), T, D, 1e-5f, h.data(), got.data());
        ExpectSameBits(h, sum, "h");
        ExpectSameBits(got, want, "normed");
      }
    }
  });
}

TEST(Residual, TheNormMayOverwriteItsInputAndThreadsChangeNothing) {
  Random random(4);
  const size_t T = 67, D = 640;  // above the threshold of the team
  const auto y = RandomFloats(random, T * D), w = RandomFloats(random, D),
             start = RandomFloats(random, T * D);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 3}) {
    const ThreadCountScope scope(threads);
    auto h = start, in_place = y;
    AddRmsNorm(in_place.data(), w.data(), T, D, 1e-5f, h.data(), in_place.data());
    h.insert(h.end(), in_place.begin(), in_place.end());
    results.push_back(h);
  }
  ExpectSameBits(results[0], results[1], "two threads");
  ExpectSameBits(results[0], results[2], "three threads");
}

}  // namespace
}  // namespace planish
