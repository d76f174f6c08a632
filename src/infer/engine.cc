// SPDX-License-Identifier: Apache-2.0
// Submission, the step loop and its plan. Who runs is decided in engine_admission.cc, what comes out of a step in
// engine_sampling.cc.
#include "infer/engine.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "infer/engine_parts.h"

namespace planish {
namespace {

constexpr size_t kBackgroundRows = 4 * kPrefillGrid;  // of a step: what arrives waits for no more

// A step sized for the whole time between two tokens is late at the client: its threads and those that write and read the
// stream share the cores. Without this p99 was 59 ms at a bound of 50 and 106 at 100.
constexpr double kDeliveryMs = 8;
double StepMs(double max_itl_ms) { return std::max(max_itl_ms - kDeliveryMs, max_itl_ms / 2); }

// Whether the bits of a row depend on where its prompt was cut (blocked SSM scans, rounded SSM states).
bool CutsMatter(const Model& model, const StateSize& size) {
  return size.is_recurrent() &&
         (model.act_mode() != ActMode::kF32 || model.state_types().ssm != DType::kF32);
}

bool KindsMatter(const Model& model, const StateSize& size) {
  return model.act_mode() != ActMode::kF32 || CutsMatter(model, size);
}

}  // namespace

const char* Name(FinishReason reason) {
  static constexpr const char* kNames[] = {"stop", "length", "cancelled", "error"};
  return kNames[static_cast<size_t>(reason)];
}

const char* Name(SlotInfo::Phase phase) {
  static constexpr const char* kNames[] = {"waiting", "preempted", "prefill", "decode"};
  return kNames[static_cast<size_t>(phase)];
}

Engine::Engine(const Model* model, EngineOptions options)
    : model_(model),
      options_(options),
      context_(options.context != 0 ? options.context : model->config().max_position),
      size_(StateSizeOf(*model)),
      cuts_matter_(CutsMatter(*model, size_)),
      kinds_matter_(KindsMatter(*model, size_)),
      pace_(StepMs(options.max_itl_ms)) {
  options_.slots = std::max<size_t>(options_.slots, 1);
  options_.step_tokens = std::max(options_.step_tokens, std::max(options_.slots, kPrefillGrid));
  if (options_.cache_bytes > 0) cache_ = std::make_unique<PrefixCache>(model, options_.cache_bytes);
  const auto ssm = CacheSsmType(*model, options_.packs_cache);
  if (cache_ != nullptr && ssm) cache_->PackSsm(kRequestSalt);
  if (cache_ != nullptr && !options_.cache_dir.empty()) {
    cache_->UseFolder(std::make_unique<StateFolder>(model, options_.cache_dir, options_.fingerprint,
                                                    options_.cache_dir_bytes, ssm),
                      kRequestSalt);
  }
}

Engine::~Engine() = default;

std::optional<DType> CacheSsmType(const Model& model, bool packs) {
  const bool can = StateSizeOf(model).is_recurrent() && model.state_types().ssm == DType::kF32;
  return packs && can ? std::optional(DType::kBF16) : std::nullopt;
}

std::unique_ptr<Sequence> Engine::MakeSequence(Request request, DoneCallback done) {
  if (request.prompt.empty()) throw UsageError("the prompt is empty, expected at least one token");
  const auto V = static_cast<int32_t>(model_->config().vocab_size);
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= V)
      throw UsageError("token id {} is outside the vocabulary, expected 0 to {}", id, V - 1);
  }
  CheckSampling(request.sampling, model_->config().vocab_size);
  const size_t length = request.prompt.size(), wanted = request.max_new_tokens > 0 ? 1 : 0;
  if (length + wanted > context_) {
    throw Error(ExitCode::kUsage,
                fmt::format("the prompt has {} tokens, but the context is {}", length, context_),
                "a shorter prompt or a larger --ctx");
  }
  size_t most = context_;
  if (options_.context_memory > 0) most = size_.PositionsWithin(options_.context_memory, context_);
  if (length + wanted > most) {
    throw Error(
        ExitCode::kNoMemory,
        fmt::format("the prompt has {} tokens, but the memory for contexts holds {}", length, most),
        "a shorter prompt or a larger --ctx-memory");
  }
  request.max_new_tokens = std::min(request.max_new_tokens, most - length);
  auto sequence = std::make_unique<Sequence>(next_id_++, std::move(request), std::move(done));
  sequence->PlanCuts(size_.is_recurrent(), cache_ != nullptr, cuts_matter_);
  return sequence;
}

Engine::Id Engine::Enqueue(std::unique_ptr<Sequence> sequence) {
  waiting_.push_back(std::move(sequence));
  return waiting_.back()->id;
}

Engine::Id Engine::Submit(Request request, DoneCallback done) {
  return Enqueue(MakeSequence(std::move(request), std::move(done)));
}

std::vector<Engine::Id> Engine::SubmitGroup(std::vector<Request> requests,
                                            std::vector<DoneCallback> done) {
  PLANISH_CHECK(requests.size() == done.size());
  const auto fork = std::make_shared<ForkPoint>();
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (size_t i = 0; i < requests.size(); ++i) {
    PLANISH_CHECK(i == 0 || requests[i].prompt == sequences[0]->request.prompt,
                  "a group has one prompt");
    sequences.push_back(MakeSequence(std::move(requests[i]), std::move(done[i])));
    if (requests.size() == 1) break;
    fork->at = sequences.back()->PlanFork(size_.is_recurrent());
    // Scoring needs all rows of its own.
    if (!sequences.back()->request.prompt_logprobs) sequences.back()->fork = fork;
  }
  std::vector<Id> ids;
  for (auto& sequence : sequences) ids.push_back(Enqueue(std::move(sequence)));
  return ids;
}

void Engine::Cancel(Id id) {
  for (auto* list : {&waiting_, &running_}) {
    for (auto& sequence : *list) {
      if (sequence->id == id) Finish(sequence.get(), FinishReason::kCancelled);
    }
  }
}

void Engine::CancelAsked() {
  for (auto* list : {&waiting_, &running_}) {
    for (auto& sequence : *list) {
      if (sequence->is_done) continue;
      const Request& request = sequence->request;
      Guard(sequence.get(), [&] {
        if (request.is_cancelled && request.is_cancelled())
          Finish(sequence.get(), FinishReason::kCancelled);
        sequence->is_paused = request.is_paused && request.is_paused();
      });
    }
  }
}

// Takes out what is done, keeping what its state is good for.
void Engine::Retire() {
  for (auto* list : {&waiting_, &running_}) {
    for (auto it = list->begin(); it != list->end();) {
      Sequence* sequence = it->get();
      if (!sequence->is_done) {
        ++it;
        continue;
      }
      if (sequence->fork != nullptr && sequence->fork->leader == sequence->id)
        sequence->fork->leader = 0;
      if (sequence->is_preempted && cache_ != nullptr) cache_->Drop(PreemptedSalt(*sequence));
      KeepEnd(sequence);
      it = list->erase(it);
    }
  }
}

Engine::StepPlan Engine::Plan() {
  // Decode rows have first call on the budget, so that a long prompt does not hold up running answers.
  StepPlan plan;
  std::vector<std::pair<Sequence*, size_t>> decodes, slices;
  for (const auto& sequence : running_) {
    if (!sequence->is_paused && sequence->is_decoding()) decodes.emplace_back(sequence.get(), 1);
  }
  const size_t most = options_.step_tokens - std::min(options_.step_tokens, decodes.size());
  size_t budget = pace_.PrefillRows(decodes.size(), kPrefillGrid, most);
  for (const auto& sequence : running_) {
    if (sequence->is_paused || sequence->is_decoding() || budget == 0) continue;
    const size_t rows =
        sequence->request.is_background ? std::min(budget, kBackgroundRows) : budget;
    const size_t count = sequence->SliceEnd(rows) - sequence->state.length();
    slices.emplace_back(sequence.get(), count);
    budget -= std::min(budget, count);
  }
  for (const auto* kind : {&decodes, &slices}) {
    for (const auto& [sequence, count] : *kind) {
      const auto from = sequence->ids.begin() + static_cast<ptrdiff_t>(sequence->state.length());
      plan.runs.push_back({plan.ids.size(), count, &sequence->state, kind == &decodes});
      plan.sequences.push_back(sequence);
      plan.ids.insert(plan.ids.end(), from, from + static_cast<ptrdiff_t>(count));
    }
  }
  plan.decode_rows = decodes.size();
  return plan;
}

bool Engine::Step() {
  const auto start = Sequence::Clock::now();  // answers wait for what comes before the model, too
  last_step_ = {};
  CancelAsked();
  Retire();
  DropBackground();
  PreemptUntilItFits();
  Admit();
  const StepPlan plan = Plan();
  if (!plan.runs.empty()) {
    const Workspace::Scope scope(workspace_);
    try {
      float* hidden = workspace_.Take(plan.ids.size() * model_->config().hidden_size);  // [R, D]
      model_->Step(plan.ids, plan.runs, hidden, &workspace_);
      Apply(plan, hidden);
    } catch (...) {  // memory: states may have taken a part of the step
      for (Sequence* sequence : plan.sequences) Fail(sequence);
    }
    last_step_ = {plan.decode_rows, plan.ids.size() - plan.decode_rows, SecondsSince(start)};
    pace_.Record(last_step_);
    ++totals_.steps;
    totals_.computed_tokens += last_step_.rows();
  }
  Retire();
  return !running_.empty() || !waiting_.empty();
}

void Engine::Finish(Sequence* sequence, FinishReason reason, std::string error) {
  if (sequence->is_done) return;
  sequence->is_done = true;
  RequestResult& result = sequence->result;
  result.finish = reason;
  result.error = std::move(error);
  if (sequence->has_first_token)
    result.decode_s = SecondsSince(sequence->first_token);
  else if (sequence->was_admitted)
    result.prompt_s = SecondsSince(sequence->admitted);
  else
    result.queue_s = SecondsSince(sequence->submitted);
  ++(reason == FinishReason::kError       ? totals_.failed
     : reason == FinishReason::kCancelled ? totals_.cancelled
                                          : totals_.finished);
  if (!sequence->done) return;
  try {
    sequence->done(result);
  } catch (const std::exception& thrown) {
    LogWarning("the end of a request could not be reported: {}", thrown.what());
  }
}

// To be called while an exception is handled: it ends the request.
void Engine::Fail(Sequence* sequence) {
  if (sequence->is_done) return;
  sequence->result.exception = std::current_exception();
  std::string message = "an unknown exception";
  try {
    throw;
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
  }
  Finish(sequence, FinishReason::kError, message);
}

RequestResult Engine::Run(Request request) {
  RequestResult result;
  Submit(std::move(request), [&](const RequestResult& done) { result = done; });
  RunUntilIdle();
  if (result.exception != nullptr) std::rethrow_exception(result.exception);
  return result;
}

size_t Engine::state_bytes() const {
  size_t total = 0;
  for (const auto& sequence : running_) total += sequence->state.bytes();
  return total;
}

EngineStats Engine::stats() const {
  EngineStats stats;
  stats.totals = totals_;
  stats.slots = options_.slots;
  stats.state_bytes = state_bytes();
  stats.context_memory = options_.context_memory;
  stats.decode_ms = pace_.decode_ms();
  stats.prefill_token_ms = pace_.prefill_token_ms();
  stats.last_step = last_step_;
  if (cache_ != nullptr) {
    stats.cache = cache_->stats();
    if (cache_->folder() != nullptr) stats.folder = cache_->folder()->stats();
  }
  for (const auto& sequence : running_) {
    ++(sequence->request.is_background ? stats.background : stats.running);
    stats.reserved_bytes += Reserved(*sequence);
  }
  for (const auto& sequence : waiting_) {
    if (sequence->request.is_background) {
      ++stats.background;
      continue;
    }
    ++stats.waiting;
    stats.waiting_tokens += sequence->request.prompt.size();
  }
  return stats;
}

std::vector<SlotInfo> Engine::slots() const {
  std::vector<SlotInfo> slots;
  for (const auto* list : {&running_, &waiting_}) {
    for (const auto& sequence : *list) {
      const Request& request = sequence->request;
      SlotInfo info;
      info.id = sequence->id;
      info.phase = sequence->is_preempted   ? SlotInfo::Phase::kPreempted
                   : list == &waiting_      ? SlotInfo::Phase::kWaiting
                   : sequence->has_prompt() ? SlotInfo::Phase::kDecode
                                            : SlotInfo::Phase::kPrefill;
      info.is_paused = sequence->is_paused;
      info.is_background = request.is_background;
      info.priority = request.priority;
      info.prompt_tokens = request.prompt.size();
      info.prompt_done = std::min(sequence->state.length(), info.prompt_tokens);
      info.cached_tokens = sequence->result.resumed_tokens;
      info.generated = sequence->answer_tokens();
      info.max_new_tokens = request.max_new_tokens;
      info.state_bytes = sequence->state.bytes();
      info.age_s = SecondsSince(sequence->submitted);
      slots.push_back(info);
    }
  }
  return slots;
}

}  // namespace planish
