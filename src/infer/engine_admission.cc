// SPDX-License-Identifier: Apache-2.0
// Who runs: order of waiting requests, memory, preemption, and states taken from the prefix cache and given to it.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "infer/engine_parts.h"
#include "kernels/kv_page.h"

namespace planish {
namespace {

constexpr double kSecondsPerLevel = 30;  // of waiting, that count as one level of priority
constexpr size_t kRoomAfterPreemption = 4 * kKvPagePositions;  // to grow before the next one

bool IsPeriodic(const Request& request, size_t length) {
  const auto& asked = request.snapshot_at;
  return length % kSnapshotPeriod == 0 &&
         std::find(asked.begin(), asked.end(), length) == asked.end();
}

}  // namespace

// Preempted ones first, then by priority with age, then by arrival; background work when there is nothing else.
Engine::Sequences::iterator Engine::NextWaiting() {
  auto best = waiting_.end();
  double best_level = 0;
  bool has_other_work = !running_.empty();
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    const Sequence& sequence = **it;
    if (sequence.is_done || sequence.request.is_background) continue;
    has_other_work = true;
    const ForkPoint* fork = sequence.fork.get();
    if (fork != nullptr && !fork->state && fork->leader != 0 && fork->leader != sequence.id)
      continue;  // until the prompt is there
    const double level = sequence.is_preempted
                             ? -std::numeric_limits<double>::infinity()
                             : sequence.request.priority -
                                   std::floor(SecondsSince(sequence.submitted) / kSecondsPerLevel);
    if (best == waiting_.end() || level < best_level) best = it, best_level = level;
  }
  if (has_other_work) return best;
  return std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& sequence) {
    return !sequence->is_done && SecondsSince(sequence->submitted) >= options_.background_rest_s;
  });
}

// What the sequence may take without being asked again; more once it has outgrown that.
size_t Engine::Reserved(const Sequence& sequence) const {
  const size_t prompt = sequence.request.prompt.size(),
               most = prompt + sequence.request.max_new_tokens;
  const size_t room = sequence.is_preempted ? kRoomAfterPreemption : 1;
  return size_.Bytes(std::max(std::min(most, prompt + options_.answer_room),
                              std::min(most, sequence.ids.size() + room)));
}

bool Engine::HasRoom(const Sequence& sequence) const {
  if (options_.context_memory == 0 || running_.empty()) return true;
  size_t taken = Reserved(sequence);
  for (const auto& other : running_) taken += Reserved(*other);
  return taken <= options_.context_memory;
}

void Engine::Admit() {
  while (running_.size() < options_.slots) {
    const auto next = NextWaiting();
    if (next == waiting_.end() || !HasRoom(**next)) return;
    // In order of arrival, so that the oldest prompt gets the first slice.
    const auto place = std::find_if(running_.begin(), running_.end(), [&](const auto& sequence) {
      return sequence->id > (*next)->id;
    });
    Sequence* sequence = next->get();
    running_.splice(place, waiting_, next);
    Guard(sequence, [&] { Start(sequence); });
    if (sequence->is_done) Retire();
  }
}

void Engine::Start(Sequence* sequence) {
  Resume(sequence);
  if (sequence->was_admitted) return;  // preempted before
  sequence->was_admitted = true;
  sequence->admitted = Sequence::Clock::now();
  RequestResult& result = sequence->result;
  result.queue_s = SecondsSince(sequence->submitted);
  result.resumed_tokens = sequence->state.length();
  if (!sequence->request.is_background) {
    totals_.prompt_tokens += sequence->request.prompt.size();
    totals_.cached_tokens += result.resumed_tokens;
    totals_.queue_wait_s += 0.1 * (result.queue_s - totals_.queue_wait_s);
  }
  for (const auto& hook : sequence->request.hooks) {
    sequence->actions.emplace_back(hook.get(), hook->Begin());
    if (sequence->actions.back().second.stop) Finish(sequence, FinishReason::kStop);
  }
}

// The deepest state there is: of the sequence itself before a preemption, of the group it belongs to, of the cache.
void Engine::Resume(Sequence* sequence) {
  const Request& request = sequence->request;
  size_t longest = sequence->ids.size() - 1;  // one row is always computed: its logits are needed
  if (request.prompt_logprobs) {
    longest = std::min(longest, std::max<size_t>(request.prompt_logprobs_from, 1) - 1 +
                                    sequence->result.prompt_logprobs.size());
  }
  if (sequence->is_preempted) {
    sequence->is_preempted = false;
    if (cache_ != nullptr) {
      const std::string salt = PreemptedSalt(*sequence);
      PrefixCache::Hit own = cache_->Find(
          {.salt = salt, .ids = sequence->ids, .longest = longest, .cuts = sequence->origin.cuts});
      cache_->Drop(salt);
      if (own.state) {
        sequence->state = std::move(*own.state);
        sequence->origin = std::move(own.origin);
        return;
      }
    }
  }
  ForkPoint* fork = sequence->fork.get();
  if (fork != nullptr && fork->state) {
    sequence->state = fork->state->Snapshot();
    sequence->origin = fork->origin;
    sequence->fork.reset();
    return;
  }
  if (fork != nullptr) fork->leader = sequence->id;
  sequence->state = model_->NewSequence();
  sequence->origin = {};
  if (cache_ != nullptr && request.cache_prompt) {
    const std::span<const size_t> cuts =
        cuts_matter_ ? std::span<const size_t>(sequence->off_grid) : std::span<const size_t>();
    PrefixCache::Hit hit = cache_->Find({.salt = RequestSalt(request),
                                         .ids = request.prompt,
                                         .longest = std::min(longest, request.prompt.size() - 1),
                                         .cuts = cuts,
                                         .takes_answers = request.takes_answers || !kinds_matter_});
    sequence->result.matched_tokens = hit.matched;
    if (hit.state) {
      sequence->state = std::move(*hit.state);
      sequence->origin = std::move(hit.origin);
      sequence->lease = std::move(hit.lease);
    }
    // Junction: what goes the other way, and what comes next, need a state where the ways part.
    const size_t junction = OnGrid(hit.matched), length = sequence->state.length();
    if (size_.is_recurrent() && hit.leaves_edge && hit.matched < request.prompt.size() &&
        junction > length && sequence->NextCut(junction - 1) > hit.matched) {
      sequence->AddCut(junction);
    }
  }
  LeaveAtFork(sequence);
}

// Where the leader of a group passes the fork point it leaves its state for the others.
void Engine::LeaveAtFork(Sequence* sequence) {
  ForkPoint* fork = sequence->fork.get();
  if (fork == nullptr || fork->leader != sequence->id || sequence->state.length() < fork->at)
    return;
  fork->state = sequence->state.Snapshot();
  if (!size_.is_recurrent()) PLANISH_CHECK(fork->state->Truncate(fork->at));
  fork->origin = sequence->origin;
  sequence->fork.reset();
}

void Engine::PreemptUntilItFits() {
  while (options_.context_memory > 0 && running_.size() > 1) {
    size_t taken = 0;
    for (const auto& sequence : running_) taken += Reserved(*sequence);
    if (taken <= options_.context_memory) return;
    Preempt(std::prev(running_.end()));  // the newest
  }
}

void Engine::Preempt(Sequences::iterator it) {
  Sequence* sequence = it->get();
  if (sequence->fork != nullptr && sequence->fork->leader == sequence->id)
    sequence->fork->leader = 0;
  const size_t length = sequence->state.length();
  if (cache_ != nullptr && length > 0) {
    cache_->Insert(PreemptedSalt(*sequence), std::span(sequence->ids).first(length),
                   std::move(sequence->state), sequence->origin, PrefixCache::Kind::kAnswer);
  }
  sequence->state = SequenceState();
  sequence->lease = {};
  sequence->is_preempted = true;
  ++totals_.preemptions;
  waiting_.splice(waiting_.begin(), running_, it);
}

void Engine::DropBackground() {
  const auto is_work = [](const auto& sequence) { return !sequence->request.is_background; };
  if (!std::any_of(waiting_.begin(), waiting_.end(), is_work) &&
      !std::any_of(running_.begin(), running_.end(), is_work))
    return;
  for (auto* list : {&waiting_, &running_}) {
    for (auto& sequence : *list) {
      if (!is_work(sequence)) Finish(sequence.get(), FinishReason::kCancelled);
    }
  }
  Retire();
}

// After a slice of the prompt: keeps the state if the prompt is cut here, or is complete and its state can be cut back.
void Engine::KeepAtCut(Sequence* sequence) {
  const size_t length = sequence->state.length(), prompt = sequence->request.prompt.size();
  if (cache_ == nullptr || !sequence->request.cache_prompt || length > prompt) return;
  const bool is_place = size_.is_recurrent() ? sequence->IsCut(length) : length == prompt;
  if (!is_place || (size_.is_recurrent() && !cache_->Accepts(length))) return;
  const auto kind = size_.is_recurrent() && IsPeriodic(sequence->request, length)
                        ? PrefixCache::Kind::kPeriodic
                        : PrefixCache::Kind::kCut;
  sequence->lease =
      cache_->Insert(RequestSalt(sequence->request), std::span(sequence->ids).first(length),
                     sequence->state.Snapshot(), sequence->origin, kind);
}

// What a sequence leaves behind. A hybrid's last state is of use only to prompts that repeat the whole answer.
void Engine::KeepEnd(Sequence* sequence) {
  const Request& request = sequence->request;
  const size_t length = sequence->state.length();
  sequence->lease = {};
  if (cache_ == nullptr || !request.cache_prompt || length == 0 || sequence->is_preempted ||
      sequence->result.finish == FinishReason::kError)
    return;
  if (size_.is_recurrent()) {
    const bool is_begun = request.is_background && length % kPrefillGrid == 0;
    const bool is_whole = request.keeps_end && sequence->has_prompt();
    if (!(is_begun || is_whole) || !cache_->Accepts(length)) return;
  }
  cache_->Insert(RequestSalt(request), std::span(sequence->ids).first(length),
                 std::move(sequence->state), std::move(sequence->origin),
                 PrefixCache::Kind::kAnswer);
}

}  // namespace planish
