// SPDX-License-Identifier: Apache-2.0
// Speed of a model: prompts and decode steps driven through Model::Step and Model::Head as the engine does, without hooks
// or sampling, beside what the formulas of the roofline say a step must move and compute.
#pragma once

#include <optional>
#include <vector>

#include "base/phases.h"
#include "model/model.h"

namespace planish {

// Prompts of n_prompt tokens (n_gen 0), or n_gen decode steps (n_prompt 0), of `batch` sequences that already hold `depth`
// tokens each.
struct ThroughputTest {
  size_t n_prompt = 0, n_gen = 0, depth = 0, batch = 1;
  size_t tokens() const { return batch * (n_prompt + n_gen); }
};

// What one run of a test must at least move and compute. Weights count once a step (an untied embedding is read one row a
// token and does not count), KV of all earlier positions is read once a step, recurrent states are read and written once.
struct ThroughputWork {
  double bytes = 0;
  double flops = 0;
};
ThroughputWork WorkOf(Model* model, const ThroughputTest& test);

struct ThroughputResult {
  ThroughputTest test;
  ThroughputWork work;
  std::vector<double> seconds;        // of each timed run
  std::optional<PhaseReport> phases;  // of all timed runs together
  size_t steps = 0;                   // calls of Model::Step in one run

  std::vector<double> tokens_per_s() const;
  double median_s() const;
  double median_ts() const;
};

// The sequences of one depth and batch: made and filled once, then used by several tests. Up to 256 tokens of the depth are
// computed, the rest of the KV cache repeats them: what it holds does not change how long reading it takes.
class Throughput {
 public:
  // Error(kNoMemory) if the caches with `longest` more tokens do not fit in what is free.
  Throughput(Model* model, size_t depth, size_t batch, size_t longest);

  // One run that does not count, then `repetitions` timed ones, each from the same depth. depth and batch of `test` must be
  // those of the constructor.
  ThroughputResult Measure(const ThroughputTest& test, size_t repetitions, bool with_phases);

 private:
  void Rewind();
  void Prefill(size_t first, size_t count, size_t tokens, bool is_decode = false);
  void RunPrompts(size_t tokens);
  void RunDecode(size_t steps);
  void Step(const std::vector<StepRun>& runs, size_t rows);

  Model* model_;
  size_t depth_, batch_;
  std::vector<SequenceState> sequences_;
  std::vector<int32_t> ids_;  // random; those of a step are its first ones
  std::vector<float> hidden_, last_, logits_;
  Workspace workspace_;
  size_t steps_ = 0;
};

}  // namespace planish
