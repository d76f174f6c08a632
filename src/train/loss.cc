// SPDX-License-Identifier: Apache-2.0
#include "train/loss.h"

#include <algorithm>
#include <span>
#include <vector>

#include "base/error.h"
#include "kernels/cross_entropy.h"
#include "train/head_rows.h"

namespace planish {
namespace {

// d_hidden null: no gradients.
LossSums Run(const LossInput& in, double* row_losses, float* d_hidden, float* d_head) {
  const Workspace::Scope scope(*in.workspace);
  const size_t V = in.head->out();
  const std::vector<size_t> kept =
      KeptRows(in.targets, in.mask, in.T, V, in.head->in(), row_losses, d_hidden);
  LossSums sums{.kept = kept.size()};
  if (kept.empty()) return sums;
  const size_t chunk = std::min(LossChunkRows(V), (kept.size() + 31) / 32 * 32);
  HeadRows head(*in.head, in.hidden, in.precision, chunk, d_hidden != nullptr, in.workspace);
  float* logits = in.workspace->Take(chunk * V);  // [chunk, V]; then their gradients
  for (size_t begin = 0; begin < kept.size(); begin += chunk) {
    const auto rows = std::span(kept).subspan(begin, std::min(chunk, kept.size() - begin));
    const size_t R = rows.size();
    head.Logits(rows, logits);
    std::vector<int32_t> targets(R);
    std::vector<double> losses(R), lse(R);
    for (size_t r = 0; r < R; ++r) targets[r] = in.targets[rows[r]];
    CrossEntropyRows entropy = {.logits = logits, .stride = V, .targets = targets.data()};
    entropy.z_coef = in.z_coef;
    entropy.R = R;
    entropy.V = V;
    entropy.losses = losses.data();
    entropy.lse = lse.data();
    CrossEntropy(entropy, d_hidden == nullptr ? CrossEntropyGradient::kNone
                          : head.is_f32()     ? CrossEntropyGradient::kF32
                                              : CrossEntropyGradient::kBf16);
    for (size_t r = 0; r < R; ++r) {
      sums.ce += losses[r];
      sums.z += lse[r] * lse[r];
      if (row_losses != nullptr) row_losses[rows[r]] = losses[r];
    }
    if (d_hidden != nullptr) head.Backward(rows, logits, d_hidden, d_head);
  }
  return sums;
}

}  // namespace

size_t LossChunkRows(size_t V) {
  constexpr size_t kFloats = size_t{1} << 24;
  return std::clamp<size_t>(kFloats / std::max<size_t>(V, 1), 256, 2048) / 32 * 32;
}

LossSums EvaluateLoss(const LossInput& input, double* row_losses) {
  return Run(input, row_losses, nullptr, nullptr);
}

LossSums LossAndGradient(const LossInput& input, double* row_losses, float* d_hidden,
                         float* d_head) {
  PLANISH_CHECK(d_hidden != nullptr);
  return Run(input, row_losses, d_hidden, d_head);
}

}  // namespace planish
