// SPDX-License-Identifier: Apache-2.0
#include "train/grad_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "train/params_testing.h"

namespace planish {
namespace {

using testing::HybridParams;
using testing::ParamStore;

// Gradients equal to the values, so that holes are zero and the two norms are the same.
std::vector<float> GradientsOf(const FlatParams& flat) {
  std::vector<float> gradients(flat.size());
  flat.ReadValues(flat.all(), gradients.data());
  return gradients;
}

TEST(GradNorm, IsTheNormOfAllValuesAndOfEachTensor) {
  const ParamStore store = HybridParams();
  const FlatParams flat(store.params());
  const std::vector<float> gradients = GradientsOf(flat);
  long double sum = 0;
  for (const float g : gradients) sum += static_cast<long double>(g) * g;
  const std::vector<double> squares = ChunkSquares(flat, flat.all(), gradients.data());
  // Sums of n positive doubles err by at most n units of roundoff.
  const double bound = static_cast<double>(flat.size()) * 0x1p-53;
  EXPECT_NEAR(NormOf(flat, squares) / std::sqrt(static_cast<double>(sum)), 1.0, bound);
  const std::vector<double> norms = EntryNorms(flat, squares);
  for (size_t e = 0; e < flat.entries().size(); ++e) {
    const FlatParams::Entry& entry = flat.entries()[e];
    double square = 0;
    for (size_t i = 0; i < entry.elements; ++i) square += double{entry.value[i]} * entry.value[i];
    EXPECT_NEAR(norms[e] / std::sqrt(square), 1.0, bound) << entry.name;
  }
  EXPECT_EQ(ValueSquares(flat, flat.all()), squares);
  EXPECT_EQ(FirstNonFinite(flat, squares), std::nullopt);
}

TEST(GradNorm, BitsDependNeitherOnThreadsNorOnRanks) {
  const ParamStore store = HybridParams();
  const FlatParams flat(store.params());
  const std::vector<float> gradients = GradientsOf(flat);
  const int before = ThreadCount();
  SetThreadCount(1);
  const std::vector<double> one = ChunkSquares(flat, flat.all(), gradients.data());
  for (const int threads : {2, 3}) {
    SetThreadCount(threads);
    EXPECT_EQ(ChunkSquares(flat, flat.all(), gradients.data()), one);
  }
  SetThreadCount(before);
  for (const size_t ranks : {2, 3, 8}) {
    std::vector<double> joined;
    for (size_t rank = 0; rank < ranks; ++rank) {
      const FlatRange range = flat.RangeOf(rank, ranks);
      const std::vector<double> part = ChunkSquares(flat, range, gradients.data() + range.begin);
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_EQ(joined, one) << ranks;
  }
}

TEST(GradNorm, NamesTheFirstTensorThatIsNotFinite) {
  const ParamStore store = HybridParams();
  const FlatParams flat(store.params());
  for (size_t e = 0; e < flat.entries().size(); ++e) {
    std::vector<float> gradients = GradientsOf(flat);
    gradients[flat.entries().back().offset] = std::nanf("");
    gradients[flat.entries()[e].end() - 1] = std::numeric_limits<float>::infinity();
    const std::vector<double> squares = ChunkSquares(flat, flat.all(), gradients.data());
    EXPECT_EQ(FirstNonFinite(flat, squares), e);
    EXPECT_FALSE(std::isfinite(NormOf(flat, squares)));
  }
}

TEST(GradNorm, ClipFactorIsNeverAboveOne) {
  EXPECT_EQ(ClipFactor(0.5, 1.0), 1.0);
  EXPECT_EQ(ClipFactor(0.0, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(ClipFactor(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(ClipFactor(4.0, 0.0), 1.0);
}

}  // namespace
}  // namespace planish
