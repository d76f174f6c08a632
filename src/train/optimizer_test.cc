// SPDX-License-Identifier: Apache-2.0
// The update rule itself is tested in kernels/adamw_test.cc and against PyTorch in the golden tests.
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "train/params_testing.h"

namespace planish {
namespace {

using testing::HybridParams;
using testing::ParamStore;

std::vector<float> RandomGradients(const FlatParams& flat, uint64_t seed) {
  Random random(seed);
  std::vector<float> gradients(flat.size());
  for (const FlatParams::Entry& entry : flat.entries()) {
    for (size_t i = 0; i < entry.elements; ++i)
      gradients[entry.offset + i] = static_cast<float>(random.Normal());
  }
  return gradients;
}

const OptimizerConfig kConfig = {.weight_decay = 0.5,
                                 .overrides = {{.glob = "*in_proj*", .lr_multiplier = 0.25},
                                               {.glob = "lm_head*", .weight_decay = 0.0}}};

// Values and moments after three steps with `ranks` ranges on `threads` threads.
std::vector<float> ThreeSteps(size_t ranks, int threads, bool has_bf16_momentum) {
  const int before = ThreadCount();
  SetThreadCount(threads);
  ParamStore store = HybridParams();
  FlatParams flat(store.params());
  OptimizerConfig config = kConfig;
  config.has_bf16_momentum = has_bf16_momentum;
  std::vector<Optimizer> parts;
  for (size_t rank = 0; rank < ranks; ++rank)
    parts.emplace_back(&flat, config, flat.RangeOf(rank, ranks));
  for (uint64_t k = 0; k < 3; ++k) {
    const std::vector<float> gradients = RandomGradients(flat, k);
    for (Optimizer& part : parts) part.Step(gradients.data() + part.range().begin, 0.01, 1e-2);
  }
  std::vector<float> result(flat.size());
  flat.ReadValues(flat.all(), result.data());
  for (const Optimizer& part : parts)
    result.insert(result.end(), part.second_moment().f32(),
                  part.second_moment().f32() + part.range().size());
  for (const Optimizer& part : parts) {
    const Tensor m = Tensor::ToF32(part.first_moment().view());
    result.insert(result.end(), m.f32(), m.f32() + m.elements());
  }
  SetThreadCount(before);
  return result;
}

TEST(Optimizer, BitsDependNeitherOnThreadsNorOnRanges) {
  for (const bool bf16 : {false, true}) {
    const std::vector<float> one = ThreeSteps(1, 1, bf16);
    for (const auto& [ranks, threads] : {std::pair<size_t, int>{1, 2}, {1, 3}, {2, 1}, {5, 2}}) {
      const std::vector<float> other = ThreeSteps(ranks, threads, bf16);
      ASSERT_EQ(other.size(), one.size());
      EXPECT_EQ(std::memcmp(one.data(), other.data(), one.size() * sizeof(float)), 0)
          << ranks << " ranges, " << threads << " threads, bf16 momentum " << bf16;
    }
  }
}

TEST(Optimizer, GroupsSetRateAndDecayOfEachParameter) {
  ParamStore store = HybridParams();
  FlatParams flat(store.params());
  std::vector<float> before(flat.size()), after(flat.size());
  flat.ReadValues(flat.all(), before.data());
  // The first step with gradients of one sign moves every value by lr (times the multiplier), and decays it.
  const std::vector<float> gradients(flat.size(), 2.0f);
  const double lr = 1.0 / 64;
  Optimizer optimizer(&flat, kConfig, flat.all());
  optimizer.Step(gradients.data(), 1.0, lr);
  EXPECT_EQ(optimizer.steps(), 1u);
  flat.ReadValues(flat.all(), after.data());
  for (const FlatParams::Entry& entry : flat.entries()) {
    const bool is_slow = entry.name.find("in_proj") != std::string::npos;
    const bool decays = entry.name.find("embeddings") != std::string::npos || is_slow ||
                        entry.name.ends_with("out_proj.weight") ||
                        entry.name.ends_with("conv1d.weight");
    const double rate = is_slow ? lr / 4 : lr;
    for (size_t i = 0; i < entry.elements; ++i) {
      const double old = before[entry.offset + i];
      const double want = old - rate - (decays ? rate * 0.5 * old : 0.0);
      // Two roundings of the value, and some of the rate.
      ASSERT_NEAR(after[entry.offset + i], want, 0x1p-22 * (std::abs(old) + rate))
          << entry.name << " " << i;
    }
  }
}

TEST(Optimizer, Bf16MomentumHalvesItsMemory) {
  ParamStore store = HybridParams();
  FlatParams flat(store.params());
  EXPECT_EQ(Optimizer(&flat, {}, flat.all()).bytes(), 8 * flat.size());
  EXPECT_EQ(Optimizer(&flat, {.has_bf16_momentum = true}, flat.all()).bytes(), 6 * flat.size());
}

TEST(OptimizerDeathTest, RefusesARangeThatCutsAChunk) {
  ParamStore store = HybridParams();
  FlatParams flat(store.params());
  EXPECT_DEATH(Optimizer(&flat, {}, {0, 64}), "cuts a chunk");
}

}  // namespace
}  // namespace planish
