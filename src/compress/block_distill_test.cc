// SPDX-License-Identifier: Apache-2.0
#include "compress/block_distill.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compress/compress_testing.h"

namespace planish {
namespace {

using namespace testing;  // the helpers of tests

struct Rows {
  SeqLayout layout{0};
  std::vector<float> x, y;
  BlockRows view() const { return {&layout, x.data(), y.data()}; }
};

// Random inputs, and a random linear map of them as the outputs to learn.
Rows LinearRows(size_t D, const std::vector<size_t>& lengths, uint64_t seed) {
  Rows rows;
  rows.layout = SeqLayout::Packed(lengths);
  const size_t T = rows.layout.tokens();
  Random random(seed), matrix(77);
  std::vector<float> w(D * D);
  for (float& value : w) value = static_cast<float>(matrix.Normal());
  rows.x.resize(T * D);
  rows.y.assign(T * D, 0);
  for (float& value : rows.x) value = static_cast<float>(random.Normal());
  for (size_t t = 0; t < T; ++t)
    for (size_t d = 0; d < D; ++d)
      for (size_t i = 0; i < D; ++i) rows.y[t * D + d] += w[d * D + i] * rows.x[t * D + i];
  return rows;
}

DistillSettings Settings(double lr, uint64_t tokens) {
  DistillSettings settings;
  settings.schedule = {.kind = ScheduleKind::kCosine,
                       .max_lr = lr,
                       .min_lr = lr / 10,
                       .warmup = tokens / 10,
                       .total = tokens};
  settings.optimizer.weight_decay = 0;
  settings.precision = Precision::kF32;
  return settings;
}

std::vector<float> BitsOf(Mixer* mixer) {
  std::vector<float> bits;
  for (const Param& param : ParamsOf(mixer))
    bits.insert(bits.end(), ValuesOf(param), ValuesOf(param) + param.shape.elements());
  return bits;
}

TEST(BlockDistill, AChildThatStartsAtZeroHasLossOneAndLearnsALinearMap) {
  const Pretrained parent = TinyModel(kTinyLlama, 1);
  const size_t D = parent.config.hidden_size;
  ChildTrainer trainer(NewChild(parent.config, LinearConfig{}), D, Settings(0.05, 200 * 40));
  std::vector<float> gradients;
  Workspace workspace;
  for (size_t step = 0; step < 200; ++step)
    trainer.Step(LinearRows(D, {25, 15}, step).view(), &gradients, &workspace);
  const Rows fresh = LinearRows(D, {40}, 1000);
  ChildTrainer untrained(NewChild(parent.config, LinearConfig{}), D, Settings(0.05, 1));
  EXPECT_EQ(untrained.Evaluate(fresh.view(), &workspace).normalised(), 1);
  EXPECT_LT(trainer.Evaluate(fresh.view(), &workspace).normalised(), 0.01);
  EXPECT_FALSE(trainer.has_diverged());
}

TEST(BlockDistill, EveryKindOfChildImproves) {
  for (const char* config : {kTinyHybrid, kTinyLlama}) {
    const Pretrained parent = TinyModel(config, 2);
    const size_t D = parent.config.hidden_size;
    for (const BlockConfig& block : parent.config.blocks) {
      std::unique_ptr<Mixer> child = NewChild(parent.config, block.mixer);
      // Parameters of the parent's kind, from another seed.
      const Pretrained other = TinyModel(config, 3);
      const ParamRows values = RandomRows(parent.config, 8);
      FillChild(child.get(), values);
      const Rows rows = LinearRows(D, {30, 30}, 5);
      ChildTrainer trainer(std::move(child), D, Settings(0.01, 60 * 60));
      Workspace workspace;
      std::vector<float> gradients;
      const double before = trainer.Evaluate(rows.view(), &workspace).normalised();
      for (size_t step = 0; step < 60; ++step) trainer.Step(rows.view(), &gradients, &workspace);
      EXPECT_LT(trainer.Evaluate(rows.view(), &workspace).normalised(), 0.9 * before)
          << config << kMixerNames[block.mixer.index()];
    }
  }
}

TEST(BlockDistill, RestoreBringsBackTheBeginningAndThreadsChangeNoBit) {
  const Pretrained parent = TinyModel(kTinyHybrid, 2);
  const size_t D = parent.config.hidden_size;
  const ParamRows values = RandomRows(parent.config, 8);
  std::vector<std::vector<float>> results;
  for (const int count : {1, 2}) {
    const Threads threads(count);
    std::unique_ptr<Mixer> child = NewChild(parent.config, parent.config.blocks[0].mixer);
    FillChild(child.get(), values);
    const std::vector<float> initial = BitsOf(child.get());
    ChildTrainer trainer(std::move(child), D, Settings(0.01, 300));
    Workspace workspace;
    std::vector<float> gradients;
    for (size_t step = 0; step < 5; ++step)
      trainer.Step(LinearRows(D, {30, 30}, step).view(), &gradients, &workspace);
    std::unique_ptr<Mixer> trained = trainer.Take();
    results.push_back(BitsOf(trained.get()));
    EXPECT_NE(results.back(), initial);
    ChildTrainer again(std::move(trained), D, Settings(0.01, 300));
    again.Step(LinearRows(D, {30}, 1).view(), &gradients, &workspace);
    again.Restore();
    EXPECT_EQ(BitsOf(again.Take().get()), results.back());
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(BlockDistill, OutputsThatAreNotFiniteStopTheChildWhereItIs) {
  const Pretrained parent = TinyModel(kTinyLlama, 1);
  const size_t D = parent.config.hidden_size;
  Rows rows = LinearRows(D, {8}, 1);
  rows.y[3] = INFINITY;
  ChildTrainer trainer(NewChild(parent.config, LinearConfig{}), D, Settings(0.05, 80));
  Workspace workspace;
  std::vector<float> gradients;
  trainer.Step(rows.view(), &gradients, &workspace);
  EXPECT_TRUE(trainer.has_diverged());
  for (const float value : BitsOf(trainer.Take().get())) EXPECT_EQ(value, 0);
}

}  // namespace
}  // namespace planish
