// SPDX-License-Identifier: Apache-2.0
#include "compress/calibration_streams.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/product_observer.h"

namespace planish {
namespace {

// Tokens that go through a block at a time: enough for good matrix products.
constexpr size_t kTokensAtATime = 4096;

}  // namespace

CalibrationStreams::CalibrationStreams(const BlockRunner* runner, const CalibrationRows& data,
                                       Precision precision)
    : runner_(runner), precision_(precision) {
  const size_t length = data.rows[0].size();
  const size_t rows = std::max<size_t>(kTokensAtATime / length, 1);
  for (size_t begin = 0; begin < data.rows.size(); begin += rows) {
    const size_t count = std::min(rows, data.rows.size() - begin);
    std::vector<int32_t> ids;
    for (size_t r = begin; r < begin + count; ++r)
      ids.insert(ids.end(), data.rows[r].begin(), data.rows[r].end());
    Wave wave{SeqLayout::Packed(std::vector<size_t>(count, length)),
              Tensor::F32({ids.size(), runner->model().config().hidden_size})};
    runner->Embed(ids, wave.h.f32());
    waves_.push_back(std::move(wave));
  }
}

std::vector<InputStatistics> CalibrationStreams::Observe(size_t block,
                                                         const std::vector<InputGroup>& groups) {
  std::vector<InputStatistics> inputs;
  for (const InputGroup& group : groups) inputs.emplace_back(group.in());
  const ProductObserver observer([&](const Weight& weight, size_t T, const RowsView& x) {
    for (size_t g = 0; g < groups.size(); ++g)
      if (groups[g].products[0].weight == &weight) inputs[g].Add(T, x);
  });
  for (Wave& wave : waves_) {
    const size_t T = wave.layout.tokens(), D = wave.h.shape().last();
    Tensor x = Tensor::F32({T, D}), y = Tensor::F32({T, D});
    runner_->Norm(block, wave.h.f32(), T, x.f32());
    runner_->Mix(PassOf(wave), block, x.f32(), y.f32());
  }
  for (const InputStatistics& statistics : inputs) {
    for (const double sum : statistics.abs_sum)
      if (!std::isfinite(sum))
        throw RuntimeError("the activations of block {} are not finite", block);
  }
  return inputs;
}

void CalibrationStreams::Advance(size_t block) {
  for (Wave& wave : waves_) runner_->Run(PassOf(wave), block, block + 1, wave.h.f32());
}

}  // namespace planish
