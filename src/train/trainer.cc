// SPDX-License-Identifier: Apache-2.0
// The loop: data -> forward -> loss -> backward -> tree -> clip -> optimizer -> log -> checkpoint.
#include "train/trainer.h"

#include <algorithm>
#include <cmath>

#include "base/buffer_pool.h"
#include "base/stopwatch.h"
#include "train/grad_norm.h"
#include "train/on_policy.h"
#include "train/step_sums.h"
#include "train/text_samples.h"

namespace planish {

TrainEnd Trainer::Run() {
  const BufferPool pool;
  // What a trained model knows beforehand; of a new one it is known.
  if (state_.step == 0 && recipe_.eval.every_steps > 0 && !recipe_.model.init.empty()) Evaluate();
  while (!AtEnd()) {
    Step step = ComputeGradients(/*attempt=*/0);
    if (step.is_finite) {
      Update(&step);
      Advance(step, /*is_applied=*/true);
      Report(step);
    } else {
      SkipNonFinite(step);
    }
    AfterStep();
    if (state_.step == options_.stop_at_step) break;
    if (IsStopAsked()) break;
  }
  return Finish();
}

Trainer::Step Trainer::ComputeGradients(int attempt) {
  Step step{.first_sample = state_.samples};
  step.has_teacher = distiller_ != nullptr;
  step.samples = recipe_.batch.tokens / loader_->SeqLenOf(state_.samples);
  const size_t per_leaf = recipe_.batch.micro_samples;
  const size_t leaves = step.samples / per_leaf / comm_->size();  // of this rank
  const uint64_t first_leaf = leaves * comm_->rank();
  if (sum_leaves_ != leaves) {
    sum_ = nullptr;
    sum_ = std::make_unique<GradientSum>(flat_.get(), comm_, leaves);
    sum_leaves_ = leaves;
  }
  Stopwatch watch;
  std::vector<MicroResult> results;
  for (uint64_t leaf = first_leaf; leaf < first_leaf + leaves; ++leaf) {
    const TokenBatch batch = Rows(step.first_sample + leaf * per_leaf, per_leaf, &step.times);
    watch.Restart();
    sum_->BeginLeaf();
    watch.Lap(&step.times.reduce);
    // Gradients of the last micro-batch travel to their owners block by block. (A test that changes them must come first.)
    const bool is_overlapped =
        comm_->size() > 1 && leaf + 1 == first_leaf + leaves && options_.on_gradients == nullptr;
    GradientBuckets buckets(flat_.get(), sum_.get());
    results.push_back(pass_->Train(
        batch, &step.times,
        is_overlapped ? [&](size_t block) { buckets.BlockDone(block); } : Model::BlockDone()));
    if (is_overlapped) buckets.Flush();
    watch.Restart();
    if (options_.on_gradients != nullptr) options_.on_gradients(state_.step, attempt, flat_.get());
    sum_->EndLeaf();
    watch.Lap(&step.times.reduce);
  }
  step.gradients = sum_->Finish();
  step.sums = SumOverRanks(results, comm_);
  step.squares = JoinRanks(ChunkSquares(*flat_, sum_->own_range(), step.gradients), comm_);
  const auto kept = static_cast<double>(std::max<size_t>(step.sums.loss.kept, 1));
  step.norm = NormOf(*flat_, step.squares) / kept;
  step.is_finite = std::isfinite(step.norm) && std::isfinite(step.loss());
  watch.Lap(&step.times.reduce);
  return step;
}

TokenBatch Trainer::Rows(uint64_t sample, size_t count, StepTimes* times) const {
  Stopwatch watch;
  TokenBatch batch = loader_->Micro(sample, count);
  watch.Lap(&times->data);
  const DistillSection& distill = recipe_.distill;
  if (distill.on_policy == 0) return batch;
  TokenBatch own = WithOwnAnswers(model_, batch,
                                  {.share = distill.on_policy,
                                   .prompt_tokens = distill.on_policy_prompt,
                                   .seed = recipe_.seed});
  watch.Lap(&times->teacher);
  return own;
}

double Trainer::Step::loss() const {
  const double learnt = has_teacher ? sums.loss.distill.objective : sums.loss.ce;
  return sums.loss.kept == 0 ? 0 : learnt / static_cast<double>(sums.loss.kept);
}

void Trainer::Update(Step* step) {
  if (step->sums.loss.kept == 0) return;  // nothing to learn from: the weights stay as they are
  Stopwatch watch;
  const uint64_t begin = state_.schedule_tokens, end = begin + recipe_.batch.tokens;
  const double scale = recipe_.data.phases[loader_->PhaseOf(state_.samples)].lr_scale;
  step->lr = scale * LearningRateOfStep(schedule_, begin, end);
  const double mean = 1.0 / static_cast<double>(step->sums.loss.kept);
  optimizer_->Step(step->gradients, mean * ClipFactor(step->norm, recipe_.optimizer.clip),
                   step->lr);
  AllGatherValues(flat_.get(), comm_);
  flat_->ValuesChanged();
  watch.Lap(&step->times.optimizer);
}

void Trainer::Advance(const Step& step, bool is_applied) {
  ++state_.step;
  state_.samples += step.samples;
  state_.tokens += step.sums.tokens;
  if (!is_applied) return;
  state_.schedule_samples += step.samples;
  state_.schedule_tokens += recipe_.batch.tokens;
  skipped_in_row_ = 0;
  const double loss = step.loss(), spike = recipe_.log.spike_factor;
  if (spike > 0 && state_.loss_ema > 0 && loss > spike * state_.loss_ema)
    Tell("spike", fmt::format("loss {:.4f} after a mean of {:.4f}", loss, state_.loss_ema), true);
  state_.loss_ema = state_.loss_ema == 0 ? loss : 0.98 * state_.loss_ema + 0.02 * loss;
}

bool Trainer::IsStopAsked() {
  const std::string own =
      options_.is_stop_asked != nullptr && options_.is_stop_asked() ? "stop" : "";
  if (comm_->size() == 1) return !own.empty();
  for (const std::string& answer : comm_->AllGather(own))  // all ranks stop after the same step
    if (!answer.empty()) return true;
  return false;
}

bool Trainer::AtEnd() const {
  return state_.schedule_tokens >= schedule_.total || state_.samples >= loader_->samples();
}

void Trainer::Report(const Step& step) {
  if (state_.step % recipe_.log.every_steps != 0) return;
  const std::vector<double> squares = ValueSquares(*flat_, flat_->all());
  if (report_ == nullptr) return;
  report_->Step({.step = state_.step,
                 .samples = state_.samples,
                 .tokens = state_.tokens,
                 .loss = step.loss(),
                 .grad_norm = step.norm,
                 .param_norm = NormOf(*flat_, squares),
                 .lr = step.lr,
                 .skipped = state_.skipped_steps,
                 .times = step.times,
                 .step_tokens = step.sums.tokens,
                 .contexts = step.sums.contexts,
                 .by_dataset = &step.sums.by_dataset,
                 .dataset_names = &dataset_names_,
                 .fp8 = pass_->TakeFp8Statistics(),
                 .distilled = distiller_ == nullptr ? nullptr : &step.sums.loss});
}

void Trainer::AfterStep() {
  const auto is_due = [&](uint64_t every) { return every > 0 && state_.step % every == 0; };
  if (is_due(recipe_.eval.every_steps)) Evaluate();
  if (is_due(recipe_.sample.every_steps)) WriteTextSamples();
  if (is_due(recipe_.checkpoint.every_steps)) Save(SaveKind::kOnTheWay);
}

void Trainer::Evaluate() {
  if (report_ == nullptr) return;  // the weights are the same everywhere
  for (const ValidationSet& set : validation_) {
    const ValidationResult result = set.Evaluate(pass_.get(), recipe_.batch.micro_samples);
    report_->Evaluation(state_.step, state_.tokens, result);
  }
}

void Trainer::WriteTextSamples() {
  if (report_ == nullptr) return;
  for (const TextSample& sample : WriteSamples(model_, recipe_.sample, recipe_.seed + state_.step))
    report_->Sample(state_.step, state_.tokens, sample.prompt, sample.text);
}

TrainEnd Trainer::Finish() {
  const bool is_end = AtEnd();
  const uint64_t every = recipe_.eval.every_steps;
  if (is_end && every > 0 && state_.step % every != 0) Evaluate();
  Save(SaveKind::kLast);
  if (report_ != nullptr) report_->End(state_.step, state_.tokens, is_end ? "finished" : "stopped");
  return is_end ? TrainEnd::kFinished : TrainEnd::kStopped;
}

void Trainer::Tell(const std::string& event, const std::string& message, bool is_warning) {
  if (report_ != nullptr) report_->Event(state_.step, event, message, is_warning);
}

}  // namespace planish
