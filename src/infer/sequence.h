// SPDX-License-Identifier: Apache-2.0
// A request on its way through the engine: what it has computed, what is pending, where its prompt is cut. Internal to the
// engine.
#pragma once

#include <chrono>
#include <optional>

#include "infer/prefix_cache.h"
#include "infer/request.h"

namespace planish {

inline constexpr size_t kPrefillGrid = 32;  // prefill slices end at multiples of this or at cuts
static_assert(kSnapshotPeriod % kPrefillGrid == 0);
constexpr size_t OnGrid(size_t length) { return length / kPrefillGrid * kPrefillGrid; }

// Requests of one prompt that is computed once: the leader leaves its state at `at`, the others start from it.
struct ForkPoint {
  size_t at = 0;
  uint64_t leader = 0;  // 0: none, the next one to be admitted becomes it
  std::optional<SequenceState> state;
  StateOrigin origin;
};

struct Sequence {
  using Clock = std::chrono::steady_clock;

  Sequence(uint64_t its_id, Request its_request,
           std::function<void(const RequestResult&)> its_done);

  // Cuts of the prompt, ascending: those asked for and, with a cache, those that every prompt gets. The same prompt with the
  // same snapshot_at always gets the same ones.
  void PlanCuts(bool is_recurrent, bool has_cache, bool cuts_matter);
  void AddCut(size_t at);
  // The fork point of a group of this prompt; without states that can be cut back it is a cut.
  size_t PlanFork(bool is_recurrent);

  size_t pending() const { return ids.size() - state.length(); }
  size_t answer_tokens() const { return ids.size() - request.prompt.size(); }
  bool has_prompt() const { return state.length() >= request.prompt.size(); }
  // The end of the ids from `position` on that came many at a time (prompt, forced tokens) and are computed as slices; 0 where
  // the id was chosen alone and is a decode row.
  size_t BulkEnd(size_t position) const;
  bool is_decoding() const { return BulkEnd(state.length()) == 0; }
  // The smallest cut after `length`; none: SIZE_MAX.
  size_t NextCut(size_t length) const;
  bool IsCut(size_t length) const;
  // Where the next slice must end at the latest, and where it ends with at most `rows` rows.
  size_t SliceEnd(size_t rows) const;
  // Notes how the last step went on: `count` rows, as a prompt slice or a decode row.
  void NoteOrigin(size_t count, bool is_decode, bool cuts_matter, bool kinds_matter);

  uint64_t id;
  Request request;
  std::function<void(const RequestResult&)> done;
  Sampler sampler;
  SequenceState state;
  StateOrigin origin;                           // of state
  std::vector<int32_t> ids;                     // prompt, then answer
  std::vector<std::pair<size_t, size_t>> bulk;  // [begin, end) of ids; see BulkEnd
  std::vector<size_t> cuts;                     // planned
  std::vector<size_t> off_grid;  // of cuts: those that are no multiples of kPrefillGrid
  std::vector<std::pair<TokenHook*, TokenHook::Action>> actions;  // last word of each hook
  RequestResult result;
  PrefixCache::Lease lease;  // on the newest entry of the cache on its path
  std::shared_ptr<ForkPoint> fork;
  Clock::time_point submitted = Clock::now(), admitted, first_token;
  bool was_admitted = false;
  bool has_first_token = false;
  bool is_preempted = false;
  bool is_paused = false;
  bool is_done = false;
};

}  // namespace planish
