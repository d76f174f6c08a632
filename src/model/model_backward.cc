// SPDX-License-Identifier: Apache-2.0
// Training passes of a whole model: forward that keeps or drops, backward that computes again what was dropped.
#include <cstring>

#include "base/phases.h"
#include "kernels/embedding_grad.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/norm_backward.h"
#include "model/fp8_recipe.h"
#include "model/model.h"

namespace planish {
namespace {

Tensor CopyRows(const float* rows, size_t T, size_t D) { return KeepRows(rows, T, D, DType::kF32); }

}  // namespace

Pass Model::PassOfBlock(const Pass& pass, size_t i) const {
  Pass own = pass;
  const Fp8Options options = pass.fp8 != nullptr ? *pass.fp8 : Fp8Options();
  const bool is_edge = i < options.bf16_first || i + options.bf16_last >= blocks_.size();
  if (pass.precision == Precision::kFp8 && is_edge) own.precision = Precision::kBf16;
  return own;
}

void Model::Forward(const Pass& pass, std::span<const int32_t> ids, float* hidden,
                    const Recompute& recompute, Activations* keep, const Observer& observer) const {
  const Workspace::Scope scope(*pass.workspace);
  const size_t T = pass.tokens(), D = config_.hidden_size, L = blocks_.size();
  PLANISH_CHECK(ids.size() == T && recompute.every > 0);
  Pass block_pass = pass;
  block_pass.selective = recompute.kind != Recompute::Kind::kNone;
  const bool is_full = recompute.kind == Recompute::Kind::kFull;
  float* h = pass.workspace->Take(T * D);
  float* normed = pass.workspace->Take(T * D);
  if (keep != nullptr) {
    keep->recompute = recompute;
    keep->stream.clear();
    keep->saved.clear();
    keep->stream.resize(L + 1);
    keep->saved.resize(L);
  }
  {
    const PhaseScope phase(Phase::kEmbed);
    GatherRows(embedding_, ids, h);
  }
  if (observer) observer(-1, h);
  RmsNorm(h, NormBefore(0), T, D, static_cast<float>(config_.norm_eps), L == 0 ? hidden : normed);
  for (size_t i = 0; i < L; ++i) {
    if (keep != nullptr && (!is_full || i % recompute.every == 0))
      keep->stream[i] = CopyRows(h, T, D);
    RunBlock(block_pass, i, h, normed, i + 1 == L ? hidden : normed,
             keep != nullptr && !is_full ? &keep->saved[i] : nullptr);
    if (observer) observer(static_cast<int>(i), h);
  }
  if (keep != nullptr) keep->stream[L] = CopyRows(h, T, D);
}

void Model::Backward(const Pass& pass, std::span<const int32_t> ids, Activations* kept,
                     float* d_hidden, const BlockDone& block_done,
                     const StreamGradient& add_gradient) const {
  const Workspace::Scope scope(*pass.workspace);
  const size_t T = pass.tokens(), D = config_.hidden_size, L = blocks_.size();
  PLANISH_CHECK(ids.size() == T && kept->saved.size() == L);
  const auto eps = static_cast<float>(config_.norm_eps);
  Pass block_pass = pass;
  block_pass.selective = kept->recompute.kind != Recompute::Kind::kNone;
  float* dh = pass.workspace->Take(T * D);
  float* x = pass.workspace->Take(T * D);  // normed rows that a block reads
  float* dx = pass.workspace->Take(T * D);
  float* h = pass.workspace->Take(T * D);
  RmsNormBackward(kept->stream[L].f32(), NormBefore(L), d_hidden, T, D, eps, dh, NormGradBefore(L));
  if (add_gradient && L > 0) add_gradient(L - 1, kept->stream[L].f32(), dh);
  kept->stream[L] = Tensor();
  for (size_t i = L; i-- > 0;) {
    if (kept->saved[i] == nullptr) {
      // The segment's blocks once more, keeping this time.
      const size_t first = i / kept->recompute.every * kept->recompute.every;
      std::memcpy(h, kept->stream[first].data(), T * D * sizeof(float));
      RmsNorm(h, NormBefore(first), T, D, eps, x);
      for (size_t j = first; j <= i; ++j) {
        if (j > first) kept->stream[j] = CopyRows(h, T, D);
        RunBlock(block_pass, j, h, x, x, &kept->saved[j]);
      }
    }
    RmsNorm(kept->stream[i].f32(), NormBefore(i), T, D, eps, x);
    blocks_[i].mixer->Backward(PassOfBlock(block_pass, i), x, *kept->saved[i], dh, dx);
    AddRmsNormBackward(kept->stream[i].f32(), NormBefore(i), dx, T, D, eps, dh, NormGradBefore(i));
    if (add_gradient && i > 0) add_gradient(i - 1, kept->stream[i].f32(), dh);
    kept->saved[i] = nullptr;
    kept->stream[i] = Tensor();
    if (block_done) block_done(i);
  }
  if (d_embedding_ != nullptr) EmbeddingGrad(ids, dh, D, d_embedding_);
}

}  // namespace planish
