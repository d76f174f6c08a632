// SPDX-License-Identifier: Apache-2.0
#include "compress/replacement_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "train/head_rows.h"

namespace planish {
namespace {

// Rows of logits at a time: enough for good products, few enough to stay near the processor.
constexpr size_t kHeadRows = 256;

double SumOfCosines(const float* a, const float* b, size_t T, size_t D) {
  double sum = 0;
  for (size_t t = 0; t < T; ++t) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t d = 0; d < D; ++d) {
      const double x = a[t * D + d], y = b[t * D + d];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    sum += aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : aa == bb ? 1 : 0;
  }
  return sum;
}

}  // namespace

ReplacementRun::ReplacementRun(Model* parent, const CalibrationRows& rows, Precision precision,
                               size_t batch_tokens)
    : parent_(parent),
      runner_(parent),
      precision_(precision),
      batches_(PackRows(rows.rows, 0, rows.rows.size(), batch_tokens)),
      D_(parent->config().hidden_size) {
  for (const RowBatch& batch : batches_) {
    const size_t T = batch.layout.tokens();
    streams_.push_back(Tensor::F32({T, D_}));
    hidden_.push_back(Tensor::F32({T, D_}));
    runner_.Embed(batch.ids, streams_.back().f32());
    Finish(batch, streams_.back().f32(), 0, hidden_.back().f32());
  }
}

void ReplacementRun::MoveTo(size_t block) {
  for (size_t i = 0; i < batches_.size(); ++i)
    runner_.Run(PassOf(batches_[i]), block_, block, streams_[i].f32());
  block_ = block;
}

ReplacementScore ReplacementRun::Score(const Mixer* child) {
  Sums sums;
  for (size_t i = 0; i < batches_.size(); ++i) {
    const Workspace::Scope scope(workspace_);
    const RowBatch& batch = batches_[i];
    const size_t T = batch.layout.tokens();
    float* h = workspace_.Take(T * D_);
    float* y = workspace_.Take(T * D_);
    std::memcpy(h, streams_[i].f32(), T * D_ * sizeof(float));
    if (child != nullptr) {
      float* x = workspace_.Take(T * D_);
      runner_.Norm(block_, h, T, x);
      child->Forward(PassOf(batch), x, y, nullptr);
      for (size_t k = 0; k < T * D_; ++k) h[k] += y[k];
    }
    Finish(batch, h, block_ + 1, y);
    Add(i, y, parent_->head(), parent_->head(), &sums);
  }
  return Mean(sums);
}

ReplacementScore ReplacementRun::ScoreOuter(const Weight& reference) {
  Sums sums;
  for (size_t i = 0; i < batches_.size(); ++i) {
    const Workspace::Scope scope(workspace_);
    const size_t T = batches_[i].layout.tokens();
    float* h = workspace_.Take(T * D_);
    float* y = workspace_.Take(T * D_);
    runner_.Embed(batches_[i].ids, h);
    Finish(batches_[i], h, 0, y);
    Add(i, y, parent_->head(), reference, &sums);
  }
  return Mean(sums);
}

void ReplacementRun::Add(size_t i, const float* hidden, const Weight& head, const Weight& reference,
                         Sums* sums) {
  const Workspace::Scope scope(workspace_);
  const RowBatch& batch = batches_[i];
  const size_t V = parent_->config().vocab_size, T = batch.layout.tokens();
  sums->cosines += SumOfCosines(hidden, hidden_[i].f32(), T, D_);
  sums->tokens += static_cast<double>(T);
  HeadRows own(head, hidden, precision_, kHeadRows, /*has_gradient=*/false, &workspace_),
      parents(reference, hidden_[i].f32(), precision_, kHeadRows, /*has_gradient=*/false,
              &workspace_);
  float* logits = workspace_.Take(2 * kHeadRows * V);
  std::vector<size_t> rows;
  for (size_t s = 0; s < batch.layout.sequences(); ++s) {
    // The last token of a sequence predicts nothing that is known.
    const size_t begin = batch.layout.begin(s), length = batch.layout.length(s);
    const size_t end = begin + std::max<size_t>(1, length) - 1;
    for (size_t at = begin; at < end; at += rows.size()) {
      rows.resize(std::min(kHeadRows, end - at));
      std::iota(rows.begin(), rows.end(), at);
      own.Logits(rows, logits);
      parents.Logits(rows, logits + kHeadRows * V);
      AddTokens(logits, logits + kHeadRows * V, std::span(batch.ids).subspan(at + 1, rows.size()),
                V, &sums->divergence);
    }
  }
}

ReplacementScore ReplacementRun::Mean(const Sums& sums) {
  const Divergence& sum = sums.divergence;
  const auto n = static_cast<double>(sum.tokens);
  parent_loss_ = sum.reference_nll / n;
  return {.kl = sum.kl / n,
          .loss = (sum.nll - sum.reference_nll) / n,
          .cosine = 1 - sums.cosines / sums.tokens,
          .top1 = 1 - static_cast<double>(sum.top1) / n};
}

void ReplacementRun::Finish(const RowBatch& batch, const float* h, size_t from, float* hidden) {
  const Workspace::Scope scope(workspace_);
  const size_t T = batch.layout.tokens();
  float* stream = workspace_.Take(T * D_);
  std::memcpy(stream, h, T * D_ * sizeof(float));
  runner_.Run(PassOf(batch), from, runner_.blocks(), stream);
  runner_.Norm(runner_.blocks(), stream, T, hidden);
}

}  // namespace planish
