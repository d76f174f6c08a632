// SPDX-License-Identifier: Apache-2.0
#include "compress/scores.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "compress/child_block.h"
#include "compress/hidden_stream.h"
#include "compress/score_file.h"
#include "eval/divergence.h"
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

// The parent over the rows: its stream before the block that is reached, and its last hidden states.
class Swaps {
 public:
  Swaps(Model* parent, const CalibrationRows& rows, const ScoreOptions& options)
      : parent_(parent),
        runner_(parent),
        precision_(options.precision),
        batches_(PackRows(rows.rows, 0, rows.rows.size(), options.batch_tokens)),
        D_(parent->config().hidden_size) {
    for (const RowBatch& batch : batches_) {
      const size_t T = batch.layout.tokens();
      streams_.push_back(Tensor::F32({T, D_}));
      hidden_.push_back(Tensor::F32({T, D_}));
      runner_.Embed(batch.ids, streams_.back().f32());
      Finish(batch, streams_.back().f32(), 0, hidden_.back().f32());
    }
  }

  void MoveTo(size_t block) {
    for (size_t i = 0; i < batches_.size(); ++i)
      runner_.Run(PassOf(batches_[i]), block_, block, streams_[i].f32());
    block_ = block;
  }

  // child: null for a no-op.
  ReplacementScore Score(const Mixer* child) {
    Divergence sum;
    double cosines = 0, tokens = 0;
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
      const float* reference = hidden_[i].f32();
      cosines += SumOfCosines(y, reference, T, D_);
      tokens += static_cast<double>(T);
      Compare(batch, y, reference, &sum);
    }
    const auto n = static_cast<double>(sum.tokens);
    parent_loss_ = sum.reference_nll / n;
    return {.kl = sum.kl / n,
            .loss = (sum.nll - sum.reference_nll) / n,
            .cosine = 1 - cosines / tokens,
            .top1 = 1 - static_cast<double>(sum.top1) / n};
  }
  double parent_loss() const { return parent_loss_; }  // once something was scored

 private:
  // hidden, reference: [T, D] of a batch.
  void Compare(const RowBatch& batch, const float* hidden, const float* reference,
               Divergence* sum) {
    const Workspace::Scope scope(workspace_);
    const size_t V = parent_->config().vocab_size;
    HeadRows own(parent_->head(), hidden, precision_, kHeadRows, /*has_gradient=*/false,
                 &workspace_),
        parents(parent_->head(), reference, precision_, kHeadRows, /*has_gradient=*/false,
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
                  V, sum);
      }
    }
  }

  Pass PassOf(const RowBatch& batch) {
    return {.layout = batch.layout, .workspace = &workspace_, .precision = precision_};
  }
  // hidden [T, D] of a stream h before block `from`, which is left somewhere behind it.
  void Finish(const RowBatch& batch, const float* h, size_t from, float* hidden) {
    const Workspace::Scope scope(workspace_);
    const size_t T = batch.layout.tokens();
    float* stream = workspace_.Take(T * D_);
    std::memcpy(stream, h, T * D_ * sizeof(float));
    runner_.Run(PassOf(batch), from, runner_.blocks(), stream);
    runner_.Norm(runner_.blocks(), stream, T, hidden);
  }

  Model* parent_;
  BlockRunner runner_;
  Precision precision_;
  std::vector<RowBatch> batches_;
  size_t D_, block_ = 0;
  std::vector<Tensor> streams_, hidden_;  // [T, D] of each batch
  double parent_loss_ = 0;
  Workspace workspace_;
};

// Scores of the same set, from this file and those of other parts.
ScoreFile KnownScores(const BlockLibrary& library, const ScoreSet& set, const std::string& path) {
  ScoreFile known;
  for (const std::string& other : ScoreFile::PathsIn(library.folder)) {
    const ScoreFile file = ScoreFile::Read(other);
    if (!(file.set == set)) {
      if (other == path) LogWarning("{}: scores of other rows or settings are replaced", path);
      continue;
    }
    known.parent_loss = file.parent_loss;
    known.scores.insert(file.scores.begin(), file.scores.end());
  }
  return known;
}

}  // namespace

bool ScoreLibrary(const Pretrained& parent, const CalibrationRows& rows,
                  const ScoreOptions& options, BlockLibrary* library) {
  RequireParent(*library, parent);
  const bool predicts = std::any_of(rows.rows.begin(), rows.rows.end(),
                                    [](const auto& row) { return row.size() > 1; });
  if (!predicts) throw UsageError("scores need rows of at least 2 tokens, there are none");
  PLANISH_CHECK(options.part < options.parts);
  const std::string path = ScoreFile::PathOf(library->folder, options.part, options.parts);
  const ScoreSet set{library->parent, fmt::format("{:016x}", rows.hash),
                     options.precision == Precision::kF32 ? "f32" : "bf16"};
  ScoreFile file = KnownScores(*library, set, path);
  file.set = set;
  file.data = rows.description;
  file.metric = options.metric;
  const auto is_due = [&](const CandidateBlock& block, const Candidate& candidate) {
    return block.block % options.parts == options.part && !candidate.is_parent &&
           (!candidate.mixer || !candidate.weights.empty()) &&
           !file.scores.contains(ScoreKey(block, candidate));
  };
  size_t due = 0, done = 0;
  for (const CandidateBlock& block : library->blocks)
    for (const Candidate& candidate : block.candidates) due += is_due(block, candidate);
  std::optional<Swaps> swaps;
  std::optional<Progress> progress;
  if (options.shows_progress && due > 0) progress.emplace("Scoring children", due, "children");
  bool is_complete = true;
  for (CandidateBlock& block : library->blocks) {
    bool has_new = false;
    for (const Candidate& candidate : block.candidates) {
      if (!is_due(block, candidate)) continue;
      if (options.deadline && std::chrono::steady_clock::now() >= *options.deadline) {
        is_complete = false;
        break;
      }
      if (!swaps) swaps.emplace(parent.model.get(), rows, options);
      swaps->MoveTo(block.block);
      const std::unique_ptr<Mixer> child =
          candidate.mixer ? LoadChild(library->folder + "/" + candidate.weights, parent.config,
                                      *candidate.mixer)
                          : nullptr;
      file.scores[ScoreKey(block, candidate)] = swaps->Score(child.get());
      file.parent_loss = swaps->parent_loss();
      has_new = true;
      if (progress) progress->Update(++done, fmt::format("block {}", block.block));
    }
    if (has_new) file.Write(path);
    if (!is_complete) break;
  }
  if (due == 0) file.Write(path);  // the metric may have changed
  ReadScores(library);
  return is_complete;
}

}  // namespace planish
