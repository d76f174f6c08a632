// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace planish {
namespace {

Tensor Zeros(DType type, size_t n) {
  Tensor tensor(type, {n});
  // By the team, so that on machines with several memory nodes the pages spread as the updates do.
  constexpr size_t kPieceBytes = size_t{1} << 20;
  ParallelFor((tensor.bytes() + kPieceBytes - 1) / kPieceBytes, [&](size_t piece, int) {
    const size_t begin = piece * kPieceBytes;
    std::memset(tensor.data() + begin, 0, std::min(kPieceBytes, tensor.bytes() - begin));
  });
  return tensor;
}

}  // namespace

Optimizer::Optimizer(FlatParams* params, const OptimizerConfig& config, FlatRange range)
    : params_(params),
      constants_(config.adamw),
      range_(range),
      m_(Zeros(config.has_bf16_momentum ? DType::kBF16 : DType::kF32, range.size())),
      v_(Zeros(DType::kF32, range.size())) {
  const auto [first, last] = params->ChunksOf(range);
  PLANISH_CHECK(range.begin <= range.end && range.end <= params->size());
  PLANISH_CHECK(
      first == last ||
          params->chunks()[last - 1].begin + params->chunks()[last - 1].elements <= range.end,
      "range [{}, {}) cuts a chunk", range.begin, range.end);
  const ParamGroups rules(config.weight_decay, config.overrides);
  for (const FlatParams::Entry& entry : params->entries())
    groups_.push_back(rules.Of(entry.name, entry.shape, entry.role));
}

uint64_t Optimizer::bytes() const { return m_.bytes() + v_.bytes(); }

void Optimizer::Step(const float* gradients, double grad_scale, double lr) {
  ++steps_;
  std::vector<AdamWStep> steps;  // of each entry
  for (const ParamGroup& group : groups_) {
    steps.push_back(MakeAdamWStep(constants_, steps_, lr * group.lr_multiplier, group.weight_decay,
                                  grad_scale));
  }
  const auto [first, last] = params_->ChunksOf(range_);
  ParallelFor(last - first, [&, first = first](size_t i, int) {
    const FlatParams::Chunk& chunk = params_->chunks()[first + i];
    const size_t at = chunk.begin - range_.begin;
    const AdamWStep& step = steps[chunk.entry];
    float* value = params_->ValueOf(chunk);
    float* v = v_.f32() + at;
    if (m_.dtype() == DType::kBF16) {
      AdamW(step, gradients + at, chunk.elements, value,
            reinterpret_cast<uint16_t*>(m_.data()) + at, v);
    } else {
      AdamW(step, gradients + at, chunk.elements, value, m_.f32() + at, v);
    }
  });
}

}  // namespace planish
