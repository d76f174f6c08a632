// SPDX-License-Identifier: Apache-2.0
#include "train/distill_loss.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "train/head_rows.h"

namespace planish {

LossSums DistillLoss(const LossInput& in, const DistillationTerms& terms,
                     const TeacherRows& teacher, double* row_losses, float* d_hidden,
                     float* d_head) {
  PLANISH_CHECK(in.z_coef == 0);
  const Workspace::Scope scope(*in.workspace);
  const size_t V = in.head->out(), k = teacher.likeliest.k;
  const std::vector<size_t> kept =
      KeptRows(in.targets, in.mask, in.T, V, in.head->in(), row_losses, d_hidden);
  LossSums sums{.kept = kept.size()};
  if (kept.empty()) return sums;
  const size_t chunk = std::min(LossChunkRows(V), (kept.size() + 31) / 32 * 32);
  HeadRows head(*in.head, in.hidden, in.precision, chunk, d_hidden != nullptr, in.workspace);
  float* student = in.workspace->Take(chunk * V);  // logits; then their gradients
  float* other = in.workspace->Take(chunk * (teacher.logits ? V : k));
  for (size_t begin = 0; begin < kept.size(); begin += chunk) {
    const auto rows = std::span(kept).subspan(begin, std::min(chunk, kept.size() - begin));
    const size_t R = rows.size();
    head.Logits(rows, student);
    std::vector<int32_t> targets(R);
    std::vector<DistillationRow> results(R);
    for (size_t r = 0; r < R; ++r) targets[r] = in.targets[rows[r]];
    DistillationRows both = {.student = student, .stride = V, .targets = targets.data()};
    both.terms = terms;
    both.R = R;
    both.V = V;
    both.results = results.data();
    if (teacher.logits) {
      teacher.logits(rows, other);
      both.teacher = other;
    } else {
      const LikeliestIds& all = teacher.likeliest;
      both.likeliest = {k, all.ids + begin * k, all.log_probs + begin * k, all.rest + begin, other};
    }
    Distillation(both, d_hidden == nullptr ? CrossEntropyGradient::kNone
                       : head.is_f32()     ? CrossEntropyGradient::kF32
                                           : CrossEntropyGradient::kBf16);
    for (size_t r = 0; r < R; ++r) {
      sums.ce += results[r].ce;
      sums.distill.objective += results[r].loss;
      sums.distill.forward += results[r].forward;
      sums.distill.reverse += results[r].reverse;
      sums.distill.agreed += results[r].agrees;
      if (row_losses != nullptr) row_losses[rows[r]] = results[r].ce;
    }
    if (d_hidden != nullptr) head.Backward(rows, student, d_hidden, d_head);
  }
  return sums;
}

}  // namespace planish
