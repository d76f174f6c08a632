// SPDX-License-Identifier: Apache-2.0
#include "infer/throughput.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "infer/engine.h"
#include "model/planner.h"

namespace planish {
namespace {

constexpr size_t kComputedDepth = 256;  // whole KV pages

size_t StepTokens() { return EngineOptions().step_tokens; }

// Prompts shorter than a step share one; a longer one takes several.
size_t PromptsPerStep(size_t tokens) { return std::max<size_t>(1, StepTokens() / tokens); }

size_t StepsOf(const ThroughputTest& test) {
  if (test.n_prompt == 0) return test.n_gen;
  const size_t together = PromptsPerStep(test.n_prompt);
  const size_t slices = (test.n_prompt + StepTokens() - 1) / StepTokens();
  return (test.batch + together - 1) / together * slices;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

PlanRequest RequestFor(const Model& model, size_t context, size_t batch) {
  return EngineRequest(context, batch, model.state_types());
}

}  // namespace

ThroughputWork WorkOf(Model* model, const ThroughputTest& test) {
  const ModelConfig& config = model->config();
  double body_bytes = 0, head_bytes = static_cast<double>(model->head().bytes());
  model->VisitParams([&](const Param& param) {
    if (param.role == ParamRole::kEmbedding || param.role == ParamRole::kHead) return;
    body_bytes += static_cast<double>(param.weight != nullptr ? param.weight->bytes()
                                                              : param.vector->bytes());
  });
  const Plan plan = MakePlan(config, RequestFor(*model, 0, 1));
  const double head_flops = 2.0 * static_cast<double>(config.vocab_size * config.hidden_size);
  const double body_flops = plan.flops_per_token - head_flops;
  const double attention_flops =  // a token and a position of its context
      MakePlan(config, RequestFor(*model, 1, 1)).flops_per_token - plan.flops_per_token;
  const auto kv = static_cast<double>(plan.kv_bytes_per_token);
  const auto state = static_cast<double>(plan.state_bytes);
  const auto depth = static_cast<double>(test.depth), batch = static_cast<double>(test.batch);
  const auto steps = static_cast<double>(StepsOf(test));
  ThroughputWork work;
  if (test.n_gen > 0) {
    const double context = depth + (static_cast<double>(test.n_gen) + 1) / 2;  // on average
    work.bytes = steps * (body_bytes + head_bytes + batch * (kv * context + 2 * state));
    work.flops = steps * batch * (body_flops + head_flops + attention_flops * context);
  } else {
    const auto tokens = static_cast<double>(test.n_prompt);
    const double slices = static_cast<double>((test.n_prompt + StepTokens() - 1) / StepTokens());
    const double heads = steps / slices;  // steps that end prompts
    const double context = depth + (tokens + 1) / 2;
    work.bytes = steps * body_bytes + heads * head_bytes +
                 batch * slices * (kv * context + 2 * state) + batch * tokens * kv;
    work.flops = batch * (tokens * (body_flops + attention_flops * context) + head_flops);
  }
  return work;
}

std::vector<double> ThroughputResult::tokens_per_s() const {
  std::vector<double> rates;
  for (const double s : seconds) rates.push_back(static_cast<double>(test.tokens()) / s);
  return rates;
}
double ThroughputResult::median_s() const { return Median(seconds); }
double ThroughputResult::median_ts() const { return Median(tokens_per_s()); }

Throughput::Throughput(Model* model, size_t depth, size_t batch, size_t longest)
    : model_(model), depth_(depth), batch_(batch) {
  const ModelConfig& config = model->config();
  const Plan plan = MakePlan(config, RequestFor(*model, depth + longest, batch));
  if (plan.cache_bytes > AvailableBytes()) {
    throw Error(ExitCode::kNoMemory,
                fmt::format("{} sequences of {} tokens need {}, but {} is free", batch,
                            depth + longest, GiB(plan.cache_bytes), GiB(AvailableBytes())),
                "a smaller -b or -d");
  }
  Random random(1);
  const size_t rows = std::max(StepTokens(), batch);
  for (size_t i = 0; i < rows; ++i)
    ids_.push_back(static_cast<int32_t>(random.Below(config.vocab_size)));
  hidden_.resize(rows * config.hidden_size);
  last_.resize(rows * config.hidden_size);
  sequences_.push_back(model->NewSequence());
  if (depth > 0) Prefill(0, 1, std::min(depth, kComputedDepth));
  while (sequences_.size() < batch) sequences_.push_back(sequences_[0].Snapshot());
  Rewind();
}

void Throughput::Rewind() {
  for (SequenceState& sequence : sequences_) sequence.SetSyntheticLength(depth_);
}

void Throughput::Step(const std::vector<StepRun>& runs, size_t rows) {
  model_->Step({ids_.data(), rows}, runs, hidden_.data(), &workspace_);
  ++steps_;
}

// Sequences [first, first + count) take `tokens` each, then the head of their last rows.
void Throughput::Prefill(size_t first, size_t count, size_t tokens, bool is_decode) {
  const size_t D = model_->config().hidden_size;
  size_t rows = 0, slice = 0;
  for (size_t done = 0; done < tokens; done += slice) {
    slice = std::min(tokens - done, StepTokens());
    std::vector<StepRun> runs;
    rows = 0;
    for (size_t i = first; i < first + count; ++i, rows += slice)
      runs.push_back({rows, slice, &sequences_[i], is_decode});
    Step(runs, rows);
  }
  for (size_t i = 0; i < count; ++i)
    std::memcpy(&last_[i * D], &hidden_[((i + 1) * slice - 1) * D], D * sizeof(float));
  logits_.resize(std::max(logits_.size(), count * model_->config().vocab_size));
  model_->Head(last_.data(), count, logits_.data());
}

void Throughput::RunPrompts(size_t tokens) {
  const size_t together = PromptsPerStep(tokens);
  for (size_t first = 0; first < batch_; first += together)
    Prefill(first, std::min(together, batch_ - first), tokens);
}

void Throughput::RunDecode(size_t steps) {
  for (size_t step = 0; step < steps; ++step) Prefill(0, batch_, 1, /*is_decode=*/true);
}

ThroughputResult Throughput::Measure(const ThroughputTest& test, size_t repetitions,
                                     bool with_phases) {
  PLANISH_CHECK(test.depth == depth_ && test.batch == batch_);
  PLANISH_CHECK((test.n_prompt == 0) != (test.n_gen == 0));
  const auto run = [&](size_t tokens) {
    if (test.n_prompt > 0)
      RunPrompts(tokens);
    else
      RunDecode(tokens);
    Rewind();
  };
  constexpr size_t kWarmUpSteps = 4;
  run(test.n_prompt > 0 ? std::min(test.n_prompt, StepTokens())
                        : std::min(test.n_gen, kWarmUpSteps));

  ThroughputResult result{.test = test, .work = WorkOf(model_, test), .seconds = {}};
  std::optional<PhaseClock> clock;
  for (size_t r = 0; r < repetitions; ++r) {
    steps_ = 0;
    if (with_phases) clock.emplace();
    const auto start = std::chrono::steady_clock::now();
    if (test.n_prompt > 0)
      RunPrompts(test.n_prompt);
    else
      RunDecode(test.n_gen);
    result.seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (with_phases) {
      const PhaseReport report = clock->Report();
      clock.reset();
      if (!result.phases.has_value()) result.phases.emplace();
      for (size_t p = 0; p < kPhaseCount; ++p) {
        result.phases->phases[p].seconds += report.phases[p].seconds;
        result.phases->phases[p].calls += report.phases[p].calls;
        result.phases->phases[p].parallel_regions += report.phases[p].parallel_regions;
      }
    }
    result.steps = steps_;
    Rewind();
  }
  return result;
}

}  // namespace planish
