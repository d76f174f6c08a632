// SPDX-License-Identifier: Apache-2.0
// What a run says of itself: lines of RUN/log.jsonl (run_log.h) and the progress line. Work is counted by train_cost.h; MFU is
// a step's work over what the machine's units of the same type can do, as `planish bench machine` measured it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "train/micro_pass.h"
#include "train/run_log.h"
#include "train/train_cost.h"
#include "train/validation.h"

namespace planish {

struct StepFigures {
  uint64_t step = 0, samples = 0, tokens = 0;  // so far
  double loss = 0, grad_norm = 0, param_norm = 0, lr = 0;
  uint64_t skipped = 0;  // so far
  StepTimes times;
  uint64_t step_tokens = 0;
  double contexts = 0;
  const std::vector<DatasetSum>* by_dataset = nullptr;
  const std::vector<std::string>* dataset_names = nullptr;
  Fp8ClassStatistics fp8;               // all zero without FP8
  const LossSums* distilled = nullptr;  // of a run with a teacher
};

class TrainReport {
 public:
  // Goes on in the log at `log_offset`. `start`: without peak_flops, which comes from the user's cache folder.
  TrainReport(const std::string& log_path, uint64_t log_offset, StartRecord start,
              const Flops& step_flops, Precision precision, uint64_t first_step,
              uint64_t total_steps);

  void Step(const StepFigures& figures);
  void Evaluation(uint64_t step, uint64_t tokens, const ValidationResult& result);
  void Sample(uint64_t step, uint64_t tokens, const std::string& prompt, const std::string& text);
  // Also told to the user: info, or warning.
  void Event(uint64_t step, const std::string& event, const std::string& message,
             bool is_warning = false);
  void End(uint64_t step, uint64_t tokens, const std::string& reason);

  uint64_t log_offset() const { return log_.offset(); }
  double mfu(const StepFigures& figures) const;  // 0 if the machine was never measured

 private:
  RunLogWriter log_;
  Flops flops_;
  double peak_flops_ = 0;
  std::unique_ptr<Progress> progress_;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace planish
