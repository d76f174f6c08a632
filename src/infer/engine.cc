// SPDX-License-Identifier: Apache-2.0
#include "infer/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "kernels/sample.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kGrid = 32;         // prefill slices end at multiples of this
constexpr size_t kLogprobRows = 64;  // prompt rows whose logits exist at a time

constexpr size_t kTracedTokens = 256;  // of a sequence whose logits are not finite

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Where numbers stop being finite: the last tokens once more, looked at after every block. Only on the way to an error.
std::string WhereNotFinite(const Model& model, std::span<const int32_t> ids, Workspace* workspace) {
  ids = ids.last(std::min(ids.size(), kTracedTokens));
  const Workspace::Scope scope(*workspace);
  const size_t n = ids.size() * model.config().hidden_size;
  std::optional<int> first;
  float* hidden = workspace->Take(n);
  model.Forward(ids, SeqLayout(ids.size()), hidden, workspace, [&](int block, const float* h) {
    if (!first.has_value() && !std::all_of(h, h + n, [](float x) { return std::isfinite(x); }))
      first = block;
  });
  if (!first.has_value()) return "";
  if (*first < 0) return ", from the embedding on";
  return fmt::format(", from layer {} on",
                     model.config().blocks[static_cast<size_t>(*first)].layer);
}

}  // namespace

const char* Name(FinishReason reason) {
  static constexpr const char* kNames[] = {"stop", "length", "cancelled", "error"};
  return kNames[static_cast<size_t>(reason)];
}

struct Engine::Sequence {
  Id id;
  Request request;
  DoneCallback done;
  Sampler sampler;
  SequenceState state;
  std::vector<int32_t> ids;                                       // prompt, then answer
  std::vector<std::pair<TokenHook*, TokenHook::Action>> actions;  // last word of each hook
  RequestResult result;
  size_t next_snapshot = 0;
  Clock::time_point admitted, first_token;
  bool has_first_token = false;
  bool is_done = false;

  size_t bulk_end = 0;  // ids before it came many at a time (prompt, forced tokens): prompt slices

  size_t pending() const { return ids.size() - state.length(); }
  bool is_decoding() const { return pending() == 1 && state.length() >= bulk_end; }
  size_t answer_tokens() const { return ids.size() - request.prompt.size(); }
};

// What one step computes: rows of several sequences, one run each.
struct Engine::StepPlan {
  std::vector<int32_t> ids;
  std::vector<StepRun> runs;
  std::vector<Sequence*> sequences;  // of each run
};

Engine::Engine(const Model* model, EngineOptions options)
    : model_(model),
      options_(options),
      context_(options.context != 0 ? options.context : model->config().max_position) {
  options_.slots = std::max<size_t>(options_.slots, 1);
  options_.step_tokens = std::max(options_.step_tokens, std::max(options_.slots, kGrid));
}

Engine::~Engine() = default;

Engine::Id Engine::Submit(Request request, DoneCallback done) {
  if (request.prompt.empty()) throw UsageError("the prompt is empty, expected at least one token");
  const auto V = static_cast<int32_t>(model_->config().vocab_size);
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= V)
      throw UsageError("token id {} is outside the vocabulary, expected 0 to {}", id, V - 1);
  }
  CheckSampling(request.sampling, model_->config().vocab_size);
  const size_t length = request.prompt.size();
  if (length > context_ || (length == context_ && request.max_new_tokens > 0)) {
    throw Error(ExitCode::kUsage,
                fmt::format("the prompt has {} tokens, but the context is {}", length, context_),
                "a shorter prompt or a larger --ctx");
  }
  request.max_new_tokens = std::min(request.max_new_tokens, context_ - length);
  std::sort(request.snapshot_at.begin(), request.snapshot_at.end());
  std::erase_if(request.snapshot_at, [&](size_t at) { return at == 0 || at > length; });
  request.snapshot_at.erase(std::unique(request.snapshot_at.begin(), request.snapshot_at.end()),
                            request.snapshot_at.end());
  auto sequence = std::unique_ptr<Sequence>(new Sequence{
      next_id_++, std::move(request), std::move(done), Sampler({}), {}, {}, {}, {}, 0, {}, {}});
  sequence->sampler = Sampler(sequence->request.sampling);
  waiting_.push_back(std::move(sequence));
  return waiting_.back()->id;
}

void Engine::Cancel(Id id) {
  for (auto* list : {&waiting_, &running_}) {
    for (auto& sequence : *list) {
      if (sequence->id == id) Finish(sequence.get(), FinishReason::kCancelled);
    }
  }
}

size_t Engine::state_bytes() const {
  size_t total = 0;
  for (const auto& sequence : running_) total += sequence->state.bytes();
  return total;
}

void Engine::Admit() {
  while (!waiting_.empty() && running_.size() < options_.slots) {
    std::unique_ptr<Sequence> sequence = std::move(waiting_.front());
    waiting_.pop_front();
    if (sequence->is_done) continue;
    const Request& request = sequence->request;
    sequence->ids = request.prompt;
    sequence->bulk_end = request.prompt.size();
    sequence->sampler.SeePrompt(request.prompt);
    sequence->admitted = Clock::now();
    const StateSnapshot* resume = request.resume.get();
    const bool can_resume =
        resume != nullptr && resume->ids.size() < request.prompt.size() &&
        !request.prompt_logprobs &&
        std::equal(resume->ids.begin(), resume->ids.end(), request.prompt.begin());
    sequence->state = can_resume ? resume->state.Snapshot() : model_->NewSequence();
    sequence->result.resumed_tokens = sequence->state.length();
    while (sequence->next_snapshot < request.snapshot_at.size() &&
           request.snapshot_at[sequence->next_snapshot] <= sequence->state.length()) {
      ++sequence->next_snapshot;
    }
    for (const auto& hook : request.hooks) {
      sequence->actions.emplace_back(hook.get(), hook->Begin());
      if (sequence->actions.back().second.stop) Finish(sequence.get(), FinishReason::kStop);
    }
    if (sequence->is_done) continue;
    running_.push_back(std::move(sequence));
  }
}

Engine::StepPlan Engine::Plan() {
  // Decode rows have first call on the budget, so that a long prompt does not hold up running answers.
  size_t budget = options_.step_tokens;
  for (const auto& sequence : running_)
    budget -= std::min(budget, sequence->is_decoding() ? size_t{1} : 0);
  std::vector<std::pair<Sequence*, size_t>> counts;
  for (const auto& sequence : running_) {
    const size_t pending = sequence->pending(), length = sequence->state.length();
    size_t count = pending;
    if (!sequence->is_decoding()) {
      if (budget == 0) continue;
      size_t end = length + std::min(pending, budget);
      if (end < length + pending)
        end =
            std::max(end / kGrid * kGrid, std::min(length + pending, (length / kGrid + 1) * kGrid));
      const auto& cuts = sequence->request.snapshot_at;
      if (sequence->next_snapshot < cuts.size() && cuts[sequence->next_snapshot] > length)
        end = std::min(end, cuts[sequence->next_snapshot]);
      count = end - length;
      budget -= std::min(budget, count);
    }
    counts.emplace_back(sequence.get(), count);
  }
  std::stable_partition(counts.begin(), counts.end(),
                        [](const auto& entry) { return entry.first->is_decoding(); });
  StepPlan plan;
  for (const auto& [sequence, count] : counts) {
    const auto from = sequence->ids.begin() + static_cast<ptrdiff_t>(sequence->state.length());
    plan.runs.push_back({plan.ids.size(), count, &sequence->state, sequence->is_decoding()});
    plan.sequences.push_back(sequence);
    plan.ids.insert(plan.ids.end(), from, from + static_cast<ptrdiff_t>(count));
  }
  return plan;
}

bool Engine::Step() {
  for (auto* list : {&waiting_, &running_}) {
    for (auto& sequence : *list) {
      if (!sequence->is_done && sequence->request.is_cancelled && sequence->request.is_cancelled())
        Finish(sequence.get(), FinishReason::kCancelled);
    }
  }
  std::erase_if(running_, [](const auto& sequence) { return sequence->is_done; });
  Admit();
  if (running_.empty()) return false;
  const Workspace::Scope scope(workspace_);
  const StepPlan rows = Plan();
  float* hidden = workspace_.Take(rows.ids.size() * model_->config().hidden_size);  // [R, D]
  model_->Step(rows.ids, rows.runs, hidden, &workspace_);
  Apply(rows, hidden);
  std::erase_if(running_, [](const auto& sequence) { return sequence->is_done; });
  return !running_.empty() || !waiting_.empty();
}

void Engine::Apply(const StepPlan& rows, const float* hidden) {
  const size_t D = model_->config().hidden_size, V = model_->config().vocab_size;
  std::vector<Sequence*> sampling;
  std::vector<const float*> last_rows;
  for (size_t i = 0; i < rows.runs.size(); ++i) {
    Sequence* sequence = rows.sequences[i];
    const StepRun& run = rows.runs[i];
    const size_t length = sequence->state.length();
    if (sequence->request.prompt_logprobs)
      PromptLogprobs(sequence, hidden + run.begin * D, length - run.count, run.count);
    const auto& cuts = sequence->request.snapshot_at;
    if (sequence->next_snapshot < cuts.size() && cuts[sequence->next_snapshot] == length) {
      ++sequence->next_snapshot;
      const std::vector<int32_t> ids(sequence->ids.begin(),
                                     sequence->ids.begin() + static_cast<ptrdiff_t>(length));
      sequence->result.snapshots.push_back(
          std::make_shared<StateSnapshot>(StateSnapshot{ids, sequence->state.Snapshot()}));
    }
    if (sequence->pending() > 0) continue;
    if (sequence->answer_tokens() >= sequence->request.max_new_tokens) {
      Finish(sequence, FinishReason::kLength);
      continue;
    }
    sampling.push_back(sequence);
    last_rows.push_back(hidden + (run.begin + run.count - 1) * D);
  }
  if (sampling.empty()) return;
  float* gathered = workspace_.Take(sampling.size() * D);
  for (size_t i = 0; i < sampling.size(); ++i)
    std::memcpy(gathered + i * D, last_rows[i], D * sizeof(float));
  float* logits = workspace_.Take(sampling.size() * V);
  model_->Head(gathered, sampling.size(), logits);
  for (size_t i = 0; i < sampling.size(); ++i) {
    if (!sampling[i]->is_done)
      Sample(sampling[i], {logits + i * V, V});  // a callback of another one may have cancelled it
  }
}

void Engine::PromptLogprobs(Sequence* sequence, const float* hidden, size_t first, size_t count) {
  const Workspace::Scope scope(workspace_);
  const size_t D = model_->config().hidden_size, V = model_->config().vocab_size;
  const auto& prompt = sequence->request.prompt;
  const size_t last = std::min(first + count, prompt.size() - 1);  // row t predicts prompt id t+1
  for (size_t begin = first; begin < last; begin += kLogprobRows) {
    const Workspace::Scope block(workspace_);
    const size_t n = std::min(kLogprobRows, last - begin);
    float* logits = workspace_.Take(n * V);
    model_->Head(hidden + (begin - first) * D, n, logits);
    for (size_t r = 0; r < n; ++r) {
      double logprob;
      LogSoftmaxAt(logits + r * V, V, {&prompt[begin + r + 1], 1}, &logprob);
      sequence->result.prompt_logprobs.push_back(logprob);
    }
  }
}

void Engine::Sample(Sequence* sequence, std::span<float> logits) {
  // Forced tokens wait until nothing is pending, then go in all at once: those of the first hook in the request's order.
  // Masks of several hooks are intersected.
  const TokenMask* mask = nullptr;
  std::optional<TokenMask> both;
  for (auto& [hook, action] : sequence->actions) {
    if (!action.forced.empty()) {
      const std::vector<int32_t> forced = std::move(action.forced);
      action.forced.clear();
      for (const int32_t id : forced) {
        if (sequence->is_done) return;
        Append(sequence, id, /*forced=*/true,
               {.logprob = std::numeric_limits<double>::quiet_NaN()});
      }
      if (forced.size() > 1) sequence->bulk_end = sequence->ids.size();
      return;
    }
    if (action.mask == nullptr) continue;
    if (mask != nullptr) {
      if (!both) both = *mask;
      both->Intersect(*action.mask);
    }
    mask = both ? &*both : action.mask;
  }
  TokenEvent event;
  const double log_sum = LogSumExp(logits.data(), logits.size());
  if (!std::isfinite(log_sum)) {
    Finish(
        sequence, FinishReason::kError,
        "the model's logits are not finite" + WhereNotFinite(*model_, sequence->ids, &workspace_));
    return;
  }
  if (sequence->request.top_logprobs > 0) {
    for (const int32_t id : TopK(logits.data(), logits.size(), sequence->request.top_logprobs)) {
      event.top.emplace_back(id, static_cast<double>(logits[static_cast<size_t>(id)]) - log_sum);
    }
  }
  // The sampler overwrites the row, so the raw value is looked up from a copy of what may be chosen: the row itself.
  const Workspace::Scope scope(workspace_);
  float* raw = workspace_.Take(logits.size());
  std::memcpy(raw, logits.data(), logits.size_bytes());
  const int32_t id = sequence->sampler.Sample(logits, sequence->answer_tokens(), mask);
  if (id < 0) {
    Finish(sequence, FinishReason::kError, "no token is allowed here");
    return;
  }
  event.logprob = static_cast<double>(raw[id]) - log_sum;
  Append(sequence, id, /*forced=*/false, std::move(event));
}

void Engine::Append(Sequence* sequence, int32_t id, bool forced, TokenEvent event) {
  if (!sequence->has_first_token) {
    sequence->has_first_token = true;
    sequence->first_token = Clock::now();
    sequence->result.prompt_s = SecondsSince(sequence->admitted);
  }
  const Request& request = sequence->request;
  event.id = id;
  event.forced = forced;
  event.is_end =
      std::find(request.end_ids.begin(), request.end_ids.end(), id) != request.end_ids.end();
  sequence->ids.push_back(id);
  sequence->result.ids.push_back(id);
  sequence->sampler.SeeToken(id);
  if (request.on_token) request.on_token(event);
  if (event.is_end && !request.ignore_end) {
    Finish(sequence, FinishReason::kStop);
    return;
  }
  for (auto& [hook, action] : sequence->actions) {
    action = hook->OnToken(id);
    if (action.stop) {
      Finish(sequence, FinishReason::kStop);
      return;
    }
  }
  if (sequence->answer_tokens() >= request.max_new_tokens) Finish(sequence, FinishReason::kLength);
}

void Engine::Finish(Sequence* sequence, FinishReason reason, std::string error) {
  if (sequence->is_done) return;
  sequence->is_done = true;
  sequence->result.finish = reason;
  sequence->result.error = std::move(error);
  if (sequence->has_first_token)
    sequence->result.decode_s = SecondsSince(sequence->first_token);
  else
    sequence->result.prompt_s = SecondsSince(sequence->admitted);
  if (sequence->done) sequence->done(sequence->result);
}

RequestResult Engine::Run(Request request) {
  RequestResult result;
  const Id id = Submit(std::move(request), [&](const RequestResult& done) { result = done; });
  try {
    RunUntilIdle();
  } catch (...) {  // a callback or memory failed: what is left of the request refers to `result`
    for (auto* list : {&waiting_, &running_})
      std::erase_if(*list, [&](const auto& sequence) { return sequence->id == id; });
    throw;
  }
  return result;
}

}  // namespace planish
