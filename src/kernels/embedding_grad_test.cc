// SPDX-License-Identifier: Apache-2.0
#include "kernels/embedding_grad.h"

#include "kernels/kernel_testing.h"

namespace planish {
namespace {

TEST(EmbeddingGrad, AddsRowsInTokenOrderWhateverTheThreads) {
  Random random(10);
  for (const size_t D : {1, 63, 64, 65, 200}) {
    const size_t V = 11, T = 400;
    std::vector<int32_t> ids(T);
    for (int32_t& id : ids) id = static_cast<int32_t>(random.Below(V));
    const auto dh = RandomFloats(random, T * D), start = RandomFloats(random, V * D);
    auto want = start;
    for (size_t t = 0; t < T; ++t)
      for (size_t d = 0; d < D; ++d) want[static_cast<size_t>(ids[t]) * D + d] += dh[t * D + d];
    for (const int threads : {1, 2, 3}) {
      const ThreadCountScope scope(threads);
      auto got = start;
      EmbeddingGrad(ids, dh.data(), D, got.data());
      ExpectSameBits(got, want, "embedding");
    }
  }
}

}  // namespace
}  // namespace planish
