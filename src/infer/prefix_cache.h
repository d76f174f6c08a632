// SPDX-License-Identifier: Apache-2.0
// States of earlier requests in a radix tree over token ids, so that a prompt is computed only from where it leaves what was
// computed before. A state of a hybrid (SSM + convolution windows + KV) can be resumed only at its own end; one without
// recurrent blocks at every token before it too. States share KV pages (mixer.h: copied on write), which are counted once.
// One byte budget; what is in use is locked. Used by the engine's thread alone.
#pragma once

#include <cstdint>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "infer/state_folder.h"
#include "infer/state_origin.h"
#include "model/state_memory.h"

namespace planish {

inline constexpr size_t kSnapshotPeriod = 2048;  // tokens between states kept of a long prompt

// A quarter of the memory that is free, at most 4 GiB: for states of earlier requests, unless a user says otherwise.
size_t DefaultCacheBytes();

class PrefixCache {
 public:
  // Keeps an entry from being evicted while it lives; may outlive the cache.
  using Lease = std::shared_ptr<const void>;

  struct Query {
    std::string_view salt;         // states of other salts are never found
    std::span<const int32_t> ids;  // of the prompt
    size_t longest = 0;            // the state found may have at most so many tokens
    std::span<const size_t> cuts;  // of the prompt, as in StateOrigin
    bool takes_answers = true;     // also states made by decode steps
  };
  struct Hit {
    size_t matched = 0;                  // ids that stand in the tree, resumable or not
    bool leaves_edge = false;            // the tree goes on differently after them
    std::optional<SequenceState> state;  // an independent copy; pages are shared
    StateOrigin origin;                  // of state
    Lease lease;                         // on its entry
  };
  enum class Kind { kCut, kPeriodic, kAnswer };

  struct Stats {
    size_t budget = 0, bytes = 0, state_bytes = 0;  // state_bytes: the recurrent part of bytes
    size_t entries = 0;
    uint64_t lookups = 0, hits = 0, stored = 0, evicted = 0, refused = 0;
  };

  // Warns once if the budget does not hold even one state.
  PrefixCache(const Model* model, size_t budget_bytes);
  // Before anything is kept: SSM states under salts that begin with `packed` are kept as bf16, in half the memory. What resumes
  // from one is inexact, as from an answer: only queries that take those find it.
  void PackSsm(char packed);
  // From now on what is evicted is written there first, and what stands there is found too. Under salts that do not begin with
  // `persistent` nothing is.
  void UseFolder(std::unique_ptr<StateFolder> folder, char persistent);
  ~PrefixCache();

  // Whether states of `length` tokens can be stored at all: ask before a costly copy.
  bool Accepts(size_t length) const { return size_.Bytes(length) <= stats_.budget; }
  Hit Find(const Query& query);
  // Keeps `state`, which has consumed `ids`. An entry that stands there already stays if it is as exact; others make room as
  // the budget asks. The lease is empty if there was no room.
  Lease Insert(std::string_view salt, std::span<const int32_t> ids, SequenceState state,
               StateOrigin origin, Kind kind);
  // Forgets everything under `salt`, locked or not.
  void Drop(std::string_view salt);

  // Writes one entry that is not in the folder yet, the next to be evicted first; false if there is none.
  bool SaveOne();

  const Stats& stats() const { return stats_; }
  const StateFolder* folder() const { return folder_.get(); }  // null: none
  // Compares tree, counters and pages; for tests. Aborts when something does not add up.
  void CheckInvariants() const;

 private:
  struct Node;
  struct Entry;

  Hit FindInTree(const Query& query);
  bool LoadDeeper(const Query& query, const Hit& hit);
  void Save(Node* node);
  Node* Descend(std::string_view salt, std::span<const int32_t> ids);
  Node* Split(Node* node, size_t length);
  void Prune(Node* node);
  bool Packs(std::string_view salt) const;
  size_t RecurrentBytes(const Entry& entry) const;
  void Charge(const Entry& entry);
  void Release(const Entry& entry);
  void Touch(Node* node);
  void RemoveEntry(Node* node);
  void DropCovered(Node* node);
  void ThinPeriodic(Node* node);
  size_t Usable(const StateOrigin& origin, size_t length, size_t matched, const Query& query) const;
  void Consider(const Node& node, size_t matched, const Query& query, const Node** best,
                size_t* length) const;
  static size_t SavedTokens(const Node& node);
  double Worth(const Node& node) const;
  bool EvictOne();
  void Shorten(Node* node, size_t columns);

  const Model* model_;
  StateSize size_;               // of what is kept, packed if it can be
  size_t full_recurrent_bytes_;  // of a state that is not packed
  DType ssm_;                    // of the model's states
  bool has_packed_ = false;
  char packed_ = 0;
  Stats stats_;
  uint64_t clock_ = 0;  // counts lookups and inserts
  std::unique_ptr<StateFolder> folder_;
  char persistent_ = 0;
  std::map<std::string, std::unique_ptr<Node>, std::less<>> roots_;  // by salt
  std::list<Node*> entries_;                                         // least recently used first
  std::unordered_map<const std::byte*, size_t> column_uses_;         // entries that hold a column
};

}  // namespace planish
