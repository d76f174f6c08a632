// SPDX-License-Identifier: Apache-2.0
// Making a cache: the teacher over the run's samples in their order.
#include <algorithm>

#include "base/parallel.h"
#include "base/progress.h"
#include "data/token_file.h"
#include "train/distill_loss.h"
#include "train/distiller.h"
#include "train/micro_pass.h"
#include "train/run_setup.h"
#include "train/teacher.h"
#include "train/teacher_cache.h"
#include "train/train_model.h"

namespace planish {
namespace {

std::vector<size_t> TrainedRows(const TokenBatch& batch) {
  std::vector<size_t> rows;
  for (size_t t = 0; t < batch.weights.size(); ++t)
    if (batch.weights[t] != 0) rows.push_back(t);
  return rows;
}

// Of the batch that the teacher has run.
CachedRows LikeliestRows(Teacher* teacher, const TokenBatch& batch, size_t k, double temperature) {
  const std::vector<size_t> kept = TrainedRows(batch);
  const size_t V = teacher->config().vocab_size;
  CachedRows cached{.ids = std::vector<uint32_t>(kept.size() * k),
                    .log_probs = std::vector<float>(kept.size() * k),
                    .rest = std::vector<float>(kept.size())};
  const size_t chunk = LossChunkRows(V);
  std::vector<float> logits(std::min(chunk, kept.size()) * V);
  for (size_t begin = 0; begin < kept.size(); begin += chunk) {
    const auto rows = std::span(kept).subspan(begin, std::min(chunk, kept.size() - begin));
    teacher->Logits(rows, logits.data());
    ParallelFor(rows.size(), [&](size_t r, int) {
      const size_t row = begin + r;
      cached.rest[row] = static_cast<float>(
          LikeliestOf(logits.data() + r * V, V, static_cast<float>(temperature), k,
                      cached.ids.data() + row * k, cached.log_probs.data() + row * k));
    });
  }
  return cached;
}

// The student's divergence from the whole teacher and from what is kept of it, summed over a batch.
class GapMeter {
 public:
  explicit GapMeter(const Recipe& recipe)
      : terms_(TermsOf(recipe.distill)),
        precision_(recipe.precision.mode),
        student_(OpenForTraining(recipe.model, recipe.seed, BaseWeights::kAsStored)) {}

  void Add(const TokenBatch& batch, Teacher* teacher, CachedRows cached) {
    for (float& value : cached.log_probs) value = FloatFromF16(F16FromFloat(value));
    const size_t T = batch.ids.size();
    const SeqLayout layout = SeqLayout::Packed(batch.document_lengths);
    const Pass pass{.layout = layout, .workspace = &workspace_, .precision = precision_};
    Tensor hidden = Tensor::F32({T, student_.config.hidden_size});
    student_.model->Forward(pass, batch.ids, hidden.f32(), Recompute(), nullptr);
    const LossInput input{.hidden = hidden.f32(),
                          .head = &student_.model->head(),
                          .targets = batch.targets.data(),
                          .mask = batch.weights.data(),
                          .T = T,
                          .precision = precision_,
                          .workspace = &workspace_};
    const TeacherRows whole{.logits = [&](std::span<const size_t> rows,
                                          float* logits) { teacher->Logits(rows, logits); },
                            .likeliest = {}};
    const TeacherRows kept{
        .logits = nullptr,
        .likeliest = {.k = cached.ids.size() / std::max<size_t>(cached.rest.size(), 1),
                      .ids = cached.ids.data(),
                      .log_probs = cached.log_probs.data(),
                      .rest = cached.rest.data()}};
    const LossSums full = DistillLoss(input, terms_, whole, nullptr, nullptr, nullptr);
    full_ += full.distill.forward;
    kept_ += DistillLoss(input, terms_, kept, nullptr, nullptr, nullptr).distill.forward;
    rows_ += full.kept;
  }
  void Report(CacheReport* report) const {
    const auto rows = static_cast<double>(std::max<size_t>(rows_, 1));
    report->full_kl = full_ / rows;
    report->cached_kl = kept_ / rows;
  }

 private:
  DistillationTerms terms_;
  Precision precision_;
  Pretrained student_;
  Workspace workspace_;
  double full_ = 0, kept_ = 0;
  size_t rows_ = 0;
};

}  // namespace

CacheReport CacheTeacher(const Recipe& recipe, const std::string& path,
                         const std::function<bool()>& is_stop_asked) {
  const Pretrained student = DescribeForTraining(recipe.model);
  const Loader loader = OpenLoader(recipe, student);
  Teacher teacher(recipe.distill.teacher, recipe.distill.teacher_act, student);
  const size_t k = std::min<uint64_t>(recipe.distill.top_k, teacher.config().vocab_size);
  TeacherCacheWriter writer(
      path, {.k = static_cast<uint32_t>(k),
             .vocab_size = teacher.config().vocab_size,
             .samples = loader.samples(),
             .temperature = recipe.distill.temperature,
             .data_hash = DataHash(loader),
             .tokenizer_hash = student.tokenizer == nullptr ? std::string(64, '0')
                                                            : TokenizerHash(*student.tokenizer),
             .teacher = teacher.identity()});
  CacheReport report;
  GapMeter gap(recipe);
  const uint64_t first = recipe.batch.tokens / loader.SeqLenOf(0);  // samples of the first batch
  Progress progress("cache teacher", loader.samples(), "samples", writer.samples());
  double rest = 0;
  size_t rows = 0;
  for (uint64_t sample = 0; sample < loader.samples(); ++sample) {
    const bool is_written = sample < writer.samples();
    if (is_written && sample >= first) continue;
    if (!is_written && is_stop_asked != nullptr && is_stop_asked()) break;
    const TokenBatch batch = loader.Micro(sample, 1);
    teacher.Run(batch);
    const CachedRows cached = LikeliestRows(&teacher, batch, k, recipe.distill.temperature);
    if (sample < first) gap.Add(batch, &teacher, cached);
    for (const float r : cached.rest) rest += r;
    rows += cached.rest.size();
    if (!is_written) writer.Append(cached);
    progress.Update(writer.samples(),
                    fmt::format("{:.1f} MB", static_cast<double>(writer.bytes()) / 1e6));
  }
  gap.Report(&report);
  report.samples = writer.samples();
  report.bytes = writer.bytes();
  report.mean_rest = rest / static_cast<double>(std::max<size_t>(rows, 1));
  report.is_complete = writer.samples() == loader.samples();
  if (report.is_complete) writer.Commit();
  return report;
}

}  // namespace planish
