// SPDX-License-Identifier: Apache-2.0
#include "train/train_report.h"

#include "base/log.h"
#include "base/memory.h"
#include "kernels/machine_peaks.h"

namespace planish {
namespace {

// The team's operations a second in the type of the products; 0 if never measured.
double PeakFlops(Precision precision) {
  const std::optional<MachinePeaks> peaks = ReadPeaks(PeaksFolder());
  if (!peaks) return 0;
  return precision == Precision::kF32 ? peaks->f32().team : peaks->bf16().team;
}

std::optional<DistillRecord> RecordOf(const LossSums& sums) {
  const auto kept = static_cast<double>(std::max<size_t>(sums.kept, 1));
  return DistillRecord{.kl = sums.distill.forward / kept,
                       .reverse_kl = sums.distill.reverse / kept,
                       .ce = sums.ce / kept,
                       .hidden = sums.distill.hidden / kept,
                       .agreement = static_cast<double>(sums.distill.agreed) / kept};
}

}  // namespace

TrainReport::TrainReport(const std::string& log_path, uint64_t log_offset, StartRecord start,
                         const Flops& step_flops, Precision precision, uint64_t first_step,
                         uint64_t total_steps)
    : log_(log_path, log_offset),
      flops_(step_flops),
      peak_flops_(PeakFlops(precision)),
      progress_(std::make_unique<Progress>(start.command, total_steps, "steps", first_step)),
      begin_(std::chrono::steady_clock::now()) {
  start.peak_flops = peak_flops_;
  log_.Write(start);
  if (peak_flops_ == 0)
    LogInfo(
        "no MFU: the peaks of this machine are not known, `planish bench machine` measures them");
}

double TrainReport::mfu(const StepFigures& figures) const {
  if (peak_flops_ == 0) return 0;
  const double work = flops_.per_token * static_cast<double>(figures.step_tokens) +
                      flops_.per_context * figures.contexts;
  return work / figures.times.total() / peak_flops_;
}

void TrainReport::Step(const StepFigures& figures) {
  const StepTimes& times = figures.times;
  StepRecord record{.step = figures.step,
                    .samples = figures.samples,
                    .tokens = figures.tokens,
                    .loss = figures.loss,
                    .grad_norm = figures.grad_norm,
                    .param_norm = figures.param_norm,
                    .lr = figures.lr,
                    .tokens_per_s = static_cast<double>(figures.step_tokens) / times.total(),
                    .mfu = mfu(figures),
                    .rss = PeakResidentBytes(),
                    .skipped = figures.skipped};
  record.ms = {.data = 1e3 * times.data,
               .forward = 1e3 * times.forward,
               .backward = 1e3 * times.backward,
               .reduce = 1e3 * times.reduce,
               .optimizer = 1e3 * times.optimizer,
               .loss = 1e3 * times.loss,
               .teacher = 1e3 * times.teacher};
  if (figures.distilled != nullptr) record.distill = RecordOf(*figures.distilled);
  for (size_t d = 0; d < figures.by_dataset->size(); ++d) {
    const DatasetSum& sum = (*figures.by_dataset)[d];
    if (sum.kept > 0)
      record.datasets.push_back(
          {(*figures.dataset_names)[d], sum.ce / static_cast<double>(sum.kept), sum.kept});
  }
  for (size_t i = 0; i < figures.fp8.size(); ++i) {
    const Fp8Statistics& found = figures.fp8[i];
    if (found.count > 0)
      record.fp8.push_back({Name(static_cast<Fp8Class>(i)), found.amax, found.count,
                            found.saturated, found.underflow});
  }
  log_.Write(record);
  std::string detail = fmt::format("loss {:.4f} norm {:.3g} lr {:.3g} {:.0f} tok/s", record.loss,
                                   record.grad_norm, record.lr, record.tokens_per_s);
  if (record.distill)
    detail += fmt::format(" KL {:.4f} agree {:.1f}%", record.distill->kl,
                          100 * record.distill->agreement);
  if (record.mfu > 0) detail += fmt::format(" MFU {:.1f}%", 100 * record.mfu);
  progress_->Update(figures.step, detail);
}

void TrainReport::Evaluation(uint64_t step, uint64_t tokens, const ValidationResult& result) {
  const auto kept = static_cast<double>(std::max<uint64_t>(result.kept, 1));
  EvalRecord record{.step = step,
                    .tokens = tokens,
                    .name = result.name,
                    .loss = result.loss(),
                    .bits_per_byte = result.bits_per_byte(),
                    .kl = result.distill.forward / kept,
                    .agreement = static_cast<double>(result.distill.agreed) / kept};
  log_.Write(record);
  std::string divergence;
  if (record.kl != 0 || record.agreement != 0)
    divergence = fmt::format(", KL {:.4f}, agrees with its teacher in {:.1f}%", record.kl,
                             100 * record.agreement);
  LogInfo("step {}: {} loss {:.4f}, {:.4f} bits per byte{}", step, result.name, record.loss,
          record.bits_per_byte, divergence);
}

void TrainReport::Sample(uint64_t step, uint64_t tokens, const std::string& prompt,
                         const std::string& text) {
  log_.Write(SampleRecord{.step = step, .tokens = tokens, .prompt = prompt, .text = text});
  LogInfo("step {}: {} -> {}", step, Quoted(prompt), Quoted(text, 300));
}

void TrainReport::Event(uint64_t step, const std::string& event, const std::string& message,
                        bool is_warning) {
  log_.Write(EventRecord{.step = step, .event = event, .message = message});
  if (is_warning)
    LogWarning("step {}: {}", step, message);
  else
    LogInfo("step {}: {}", step, message);
}

void TrainReport::End(uint64_t step, uint64_t tokens, const std::string& reason) {
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
  log_.Write(
      EndRecord{.step = step, .tokens = tokens, .reason = reason, .seconds = seconds.count()});
}

}  // namespace planish
