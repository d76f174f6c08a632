// SPDX-License-Identifier: Apache-2.0
// What comes out of a step: log-probabilities of prompts, the next tokens, states worth keeping.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/parallel.h"
#include "infer/engine_parts.h"
#include "kernels/sample.h"

namespace planish {
namespace {

constexpr size_t kLogprobRows = 64;    // prompt rows whose logits exist at a time
constexpr size_t kTracedTokens = 256;  // of a sequence whose logits are not finite

TopLogprobs LargestOf(const float* logits, size_t V, size_t count, double log_sum) {
  TopLogprobs top;
  for (const int32_t id : TopK(logits, V, count))
    top.emplace_back(id, static_cast<double>(logits[static_cast<size_t>(id)]) - log_sum);
  return top;
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

// What a row of logits gives, before anybody is told.
struct Engine::Drawn {
  bool is_forced = false;  // nothing is drawn
  const TokenMask* mask = nullptr;
  std::optional<TokenMask> both;  // where mask is the intersection of several
  bool is_finite = true;
  int32_t id = -1;  // none is allowed
  TokenEvent event;
  std::exception_ptr failure;
};

void Engine::Apply(const StepPlan& plan, const float* hidden) {
  const size_t D = model_->config().hidden_size, V = model_->config().vocab_size;
  std::vector<Sequence*> sampling;
  std::vector<const float*> last_rows;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    Sequence* sequence = plan.sequences[i];
    const StepRun& run = plan.runs[i];
    if (sequence->is_done) continue;  // a callback of another one cancelled it
    sequence->NoteOrigin(run.count, run.is_decode, cuts_matter_, kinds_matter_);
    const Request& request = sequence->request;
    const bool goes_on = Guard(sequence, [&] {
      if (run.is_decode) return;
      const size_t length = sequence->state.length();
      if (request.prompt_logprobs)
        PromptLogprobs(sequence, hidden + run.begin * D, length - run.count, run.count);
      KeepAtCut(sequence);
      LeaveAtFork(sequence);
      if (request.on_progress && !sequence->has_first_token) {
        request.on_progress(std::min(length, request.prompt.size()), request.prompt.size(),
                            sequence->result.resumed_tokens);
      }
    });
    if (!goes_on || sequence->pending() > 0) continue;
    if (sequence->answer_tokens() >= request.max_new_tokens) {
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
  std::vector<Drawn> drawn(sampling.size());
  for (size_t i = 0; i < sampling.size(); ++i) {
    Guard(sampling[i], [&] {
      drawn[i].is_forced = TakeForced(sampling[i]);
      if (!drawn[i].is_forced) TakeMask(*sampling[i], &drawn[i]);
    });
  }
  ParallelFor(sampling.size(), [&](size_t i, int) {
    if (sampling[i]->is_done || drawn[i].is_forced) return;
    try {
      Draw(*sampling[i], {logits + i * V, V}, &drawn[i]);
    } catch (...) {
      drawn[i].failure = std::current_exception();
    }
  });
  for (size_t i = 0; i < sampling.size(); ++i) {
    if (sampling[i]->is_done || drawn[i].is_forced) continue;  // callbacks of others may cancel
    Guard(sampling[i], [&] { Accept(sampling[i], &drawn[i]); });
  }
}

void Engine::PromptLogprobs(Sequence* sequence, const float* hidden, size_t first, size_t count) {
  const Workspace::Scope scope(workspace_);
  const size_t D = model_->config().hidden_size, V = model_->config().vocab_size;
  const Request& request = sequence->request;
  RequestResult& result = sequence->result;
  const auto& prompt = request.prompt;
  const size_t last = std::min(first + count, prompt.size() - 1);  // row t predicts prompt id t+1
  // Rows before were not asked for, or reported before a preemption.
  const size_t next =
      std::max<size_t>(request.prompt_logprobs_from, 1) - 1 + result.prompt_logprobs.size();
  for (size_t begin = std::max(first, next); begin < last; begin += kLogprobRows) {
    const Workspace::Scope block(workspace_);
    const size_t n = std::min(kLogprobRows, last - begin);
    float* logits = workspace_.Take(n * V);
    model_->Head(hidden + (begin - first) * D, n, logits);
    for (size_t r = 0; r < n; ++r) {
      const float* row = logits + r * V;
      const double log_sum = LogSumExp(row, V);
      const auto id = static_cast<size_t>(prompt[begin + r + 1]);
      result.prompt_logprobs.push_back(static_cast<double>(row[id]) - log_sum);
      if (request.prompt_top_logprobs > 0)
        result.prompt_tops.push_back(LargestOf(row, V, request.prompt_top_logprobs, log_sum));
    }
  }
}

// Forced tokens wait until nothing is pending, then go in all at once: those of the first hook in the request's order.
bool Engine::TakeForced(Sequence* sequence) {
  for (auto& [hook, action] : sequence->actions) {
    if (action.forced.empty()) continue;
    const std::vector<int32_t> forced = std::move(action.forced);
    action.forced.clear();
    for (const int32_t id : forced) {
      if (sequence->is_done) return true;
      Append(sequence, id, /*forced=*/true, {.logprob = std::numeric_limits<double>::quiet_NaN()});
    }
    if (forced.size() > 1)
      sequence->bulk.emplace_back(sequence->ids.size() - forced.size(), sequence->ids.size());
    return true;
  }
  return false;
}

// Masks of several hooks are intersected.
void Engine::TakeMask(const Sequence& sequence, Drawn* drawn) {
  for (const auto& [hook, action] : sequence.actions) {
    if (action.mask == nullptr) continue;
    if (drawn->mask != nullptr) {
      if (!drawn->both) drawn->both = *drawn->mask;
      drawn->both->Intersect(*action.mask);
    }
    drawn->mask = drawn->both ? &*drawn->both : action.mask;
  }
}

// The next token of one row. Runs beside other rows: changes nothing but `logits` and `drawn`.
void Engine::Draw(const Sequence& sequence, std::span<float> logits, Drawn* drawn) {
  const double log_sum = LogSumExp(logits.data(), logits.size());
  drawn->is_finite = std::isfinite(log_sum);
  if (!drawn->is_finite) return;
  const size_t top = sequence.request.top_logprobs;
  if (top > 0) drawn->event.top = LargestOf(logits.data(), logits.size(), top, log_sum);
  // Log-probabilities are those of the model. Masks leave the logits of what may be chosen alone, penalties do not.
  std::vector<float> raw;
  if (sequence.sampler.penalises()) raw.assign(logits.begin(), logits.end());
  drawn->id = sequence.sampler.Sample(logits, sequence.answer_tokens(), drawn->mask);
  if (drawn->id < 0) return;
  const auto id = static_cast<size_t>(drawn->id);
  drawn->event.logprob = static_cast<double>(raw.empty() ? logits[id] : raw[id]) - log_sum;
}

void Engine::Accept(Sequence* sequence, Drawn* drawn) {
  if (drawn->failure != nullptr) std::rethrow_exception(drawn->failure);
  if (!drawn->is_finite) {
    Finish(
        sequence, FinishReason::kError,
        "the model's logits are not finite" + WhereNotFinite(*model_, sequence->ids, &workspace_));
  } else if (drawn->id < 0) {
    Finish(sequence, FinishReason::kError, "no token is allowed here");
  } else {
    Append(sequence, drawn->id, /*forced=*/false, std::move(drawn->event));
  }
}

void Engine::Append(Sequence* sequence, int32_t id, bool forced, TokenEvent event) {
  if (!sequence->has_first_token) {
    sequence->has_first_token = true;
    sequence->first_token = Sequence::Clock::now();
    sequence->result.prompt_s = SecondsSince(sequence->admitted);
  }
  const Request& request = sequence->request;
  event.id = id;
  event.forced = forced;
  event.is_end =
      std::find(request.end_ids.begin(), request.end_ids.end(), id) != request.end_ids.end();
  sequence->ids.push_back(id);
  sequence->result.ids.push_back(id);
  ++totals_.generated_tokens;
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

}  // namespace planish
