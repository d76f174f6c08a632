// SPDX-License-Identifier: Apache-2.0
#include "compress/child_init.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compress/block_runner.h"
#include "compress/compress_testing.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

// Inputs and outputs of one block on random ids.
struct Sample {
  SeqLayout layout{0};
  std::vector<float> x, y;
  BlockRows rows() const { return {&layout, x.data(), y.data()}; }
};

Sample SampleOf(const Pretrained& parent, size_t block, const std::vector<size_t>& lengths) {
  Sample sample;
  sample.layout = SeqLayout::Packed(lengths);
  const size_t T = sample.layout.tokens(), D = parent.config.hidden_size;
  const std::vector<int32_t> ids = RandomIds(parent, 1, T, 9)[0];
  Workspace workspace;
  const Pass pass{.layout = sample.layout, .workspace = &workspace};
  const BlockRunner runner(parent.model.get());
  std::vector<float> h(T * D);
  runner.Embed(ids, h.data());
  runner.Run(pass, 0, block, h.data());
  sample.x.resize(T * D);
  sample.y.resize(T * D);
  runner.Norm(block, h.data(), T, sample.x.data());
  runner.Mix(pass, block, sample.x.data(), sample.y.data());
  return sample;
}

double LossOf(const Mixer& child, const Sample& sample, size_t D) {
  Workspace workspace;
  return ErrorOf(&child, sample.rows(), D, Precision::kF32, &workspace).normalised();
}

TEST(ChildInit, AChildOfFullSizeIsTheParentsBlockToTheBit) {
  for (const char* config : {kTinyHybrid, kTinyLlama}) {
    const Pretrained parent = TinyModel(config, 3);
    for (size_t b = 0; b < parent.config.blocks.size(); ++b) {
      const Sample sample = SampleOf(parent, b, {17, 6});
      const auto child = InitialChild(parent, b, parent.config.blocks[b].mixer, sample.rows());
      EXPECT_EQ(LossOf(*child, sample, parent.config.hidden_size), 0) << config << b;
    }
  }
}

TEST(ChildInit, TheMatrixOfAnAttentionBlockIsExactForSequencesOfOneToken) {
  for (const char* config : {kTinyHybrid, kTinyLlama, kTinyQwen}) {
    const Pretrained parent = TinyModel(config, 4);
    const size_t D = parent.config.hidden_size;
    for (size_t b = 0; b < parent.config.blocks.size(); ++b) {
      if (!std::holds_alternative<AttentionConfig>(parent.config.blocks[b].mixer)) continue;
      const Sample sample = SampleOf(parent, b, std::vector<size_t>(11, 1));
      const std::vector<float> matrix = AttentionAsMatrix(parent, b);
      for (size_t t = 0; t < 11; ++t) {
        for (size_t d = 0; d < D; ++d) {
          double sum = 0, magnitude = 0;
          for (size_t i = 0; i < D; ++i) {
            const double product = double{matrix[d * D + i]} * sample.x[t * D + i];
            sum += product;
            magnitude += std::abs(product);
          }
          // Two products of floats instead of one: errors of the inner one grow with the magnitudes of both.
          EXPECT_NEAR(sum, sample.y[t * D + d], 64 * 6e-8 * (magnitude + 1)) << config << b;
        }
      }
    }
  }
}

TEST(ChildInit, SmallerChildrenErrLessThanANoOpAndMoreThanTheParent) {
  struct Case {
    const char* config;
    size_t block;
    MixerConfig mixer;
  };
  const Pretrained hybrid = TinyModel(kTinyHybrid, 5);
  auto mamba = std::get<Mamba2Config>(hybrid.config.blocks[0].mixer);
  mamba.n_heads = 2;
  auto narrow = std::get<Mamba2Config>(hybrid.config.blocks[0].mixer);
  narrow.head_dim = 6;
  const Case cases[] = {
      {kTinyHybrid, 0, mamba},
      {kTinyHybrid, 0, narrow},
      {kTinyHybrid, 1, FfnConfig{32, FfnKind::kReluSquared}},
      {kTinyHybrid, 1, LinearConfig{}},
      {kTinyHybrid, 2, LinearConfig{}},
      {kTinyLlama, 1, FfnConfig{40, FfnKind::kSwiGlu}},
      {kTinyLlama, 0, AttentionConfig{.n_heads = 4, .n_kv_heads = 2, .head_dim = 8}},
  };
  for (const Case& c : cases) {
    const Pretrained parent = TinyModel(c.config, 5);
    const Sample sample = SampleOf(parent, c.block, {40, 60, 80});
    const auto child = InitialChild(parent, c.block, c.mixer, sample.rows());
    const double loss = LossOf(*child, sample, parent.config.hidden_size);
    EXPECT_GT(loss, 0) << c.config << c.block;
    EXPECT_LT(loss, 1) << c.config << c.block;
  }
}

TEST(ChildInit, TheNeuronsThatWeighMostAreKept) {
  Pretrained parent = TinyModel(kTinyHybrid, 6);
  // Neurons 3, 11 and 40 of block 1 write a hundred times as much as the others.
  parent.model->VisitParams([](const Param& param) {
    if (param.block != 1 || !param.name.ends_with("down_proj.weight")) return;
    for (size_t d = 0; d < param.shape[0]; ++d)
      for (const size_t f : {3, 11, 40}) ValuesOf(param)[d * param.shape[1] + f] *= 100;
    param.weight->Touch();
  });
  const Sample sample = SampleOf(parent, 1, {50});
  const BlockSlice slice =
      SliceByImportance(parent, 1, FfnConfig{3, FfnKind::kReluSquared}, sample.rows());
  EXPECT_EQ(std::get<FfnSlice>(slice).neurons, (IndexList{3, 11, 40}));
}

TEST(ChildInit, TheOutputMatrixTakesOverWhatDroppedNeuronsSaid) {
  Pretrained parent = TinyModel(kTinyHybrid, 6);
  // Neuron f + 24 of block 1 fires as neuron f does and says a tenth of the same.
  constexpr size_t kHalf = 24;
  parent.model->VisitParams([](const Param& param) {
    if (param.block != 1 || param.weight == nullptr) return;
    const size_t columns = param.shape[1];
    float* values = ValuesOf(param);
    if (param.name.ends_with("up_proj.weight")) {
      std::copy_n(values, kHalf * columns, values + kHalf * columns);
    } else {
      for (size_t d = 0; d < param.shape[0]; ++d)
        for (size_t f = 0; f < kHalf; ++f)
          values[d * columns + kHalf + f] = 0.1f * values[d * columns + f];
    }
    param.weight->Touch();
  });
  const Sample sample = SampleOf(parent, 1, {60, 60, 60, 60});
  const MixerConfig half = FfnConfig{kHalf, FfnKind::kReluSquared};
  const auto slice = std::get<FfnSlice>(SliceByImportance(parent, 1, half, sample.rows()));
  EXPECT_EQ(slice.neurons.back(), kHalf - 1);
  const auto child = InitialChild(parent, 1, half, sample.rows());
  // Sliced alone, the child would say 1 of 1.1.
  EXPECT_LT(LossOf(*child, sample, parent.config.hidden_size), 0.5 * (0.1 / 1.1) * (0.1 / 1.1));
}

TEST(ChildInit, MambaHeadsAreKeptInsideTheirGroups) {
  const Pretrained parent = TinyModel(kTinyHybrid, 7);
  // Rows of x of heads 0 and 1, which are the first of two groups of two, outweigh those of the second group.
  parent.model->VisitParams([](const Param& param) {
    if (param.block != 0 || !param.name.ends_with("in_proj.weight")) return;
    const size_t inner = 4 * 8, columns = param.shape[1];
    for (size_t r = inner; r < inner + 16; ++r)
      for (size_t c = 0; c < columns; ++c)
        ValuesOf(param)[r * columns + c] *= r < inner + 8 ? 9 : 5;
    param.weight->Touch();
  });
  auto mamba = std::get<Mamba2Config>(parent.config.blocks[0].mixer);
  mamba.n_heads = 2;
  const Sample sample = SampleOf(parent, 0, {50});
  const auto slice =
      std::get<MambaSlice>(SliceByImportance(parent, 0, MixerConfig(mamba), sample.rows()));
  ASSERT_EQ(slice.heads.size(), 2u);
  EXPECT_EQ(slice.heads[0], 0u);
  EXPECT_GE(slice.heads[1], 2u);
  EXPECT_EQ(slice.channels.size(), 8u);
}

}  // namespace
}  // namespace planish
