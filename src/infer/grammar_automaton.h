// SPDX-License-Identifier: Apache-2.0
// Runs a grammar over bytes and says which tokens may come next. All ways to read the text so far are kept at once as a set
// of (state, stack); stacks share their lower parts, sets are numbered, and where a set goes on a byte is worked out once and
// remembered, so that walking the vocabulary is a table look-up a byte. One sequence's; not for two threads at a time.
#pragma once

#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "infer/grammar.h"
#include "infer/grammar_vocabulary.h"

namespace planish {

class GrammarAutomaton {
 public:
  GrammarAutomaton(std::shared_ptr<const Grammar> grammar,
                   std::shared_ptr<const GrammarVocabulary> vocabulary);

  // Takes the bytes, or takes none of them and returns false.
  bool Push(std::string_view bytes);
  bool Accepts(std::string_view bytes);  // without taking them
  bool is_at_start() const { return !has_taken_; }
  bool is_complete() const {
    return sets_[static_cast<size_t>(current_)].is_complete;
  }  // the text so far fits
  bool can_go_on() const { return !sets_[static_cast<size_t>(current_)].positions.empty(); }
  // Tokens that may come next, or after these bytes; those that end a text are not among them. Valid until the next call.
  const TokenMask& Mask(std::string_view after = {});

  size_t set_count() const { return sets_.size(); }

 private:
  // What waits for a rule to end: the state to go on in, or the repeat (with its count) the rule was an item of.
  struct Frame {
    int32_t state, count;  // count < 0: a plain call
    int32_t below;         // frame, -1 for none
    int32_t depth;
  };
  struct Position {
    int32_t state, frame;
    bool operator==(const Position&) const = default;
    auto operator<=>(const Position&) const = default;
  };
  struct Set {
    std::vector<Position> positions;  // with edges; sorted
    bool is_complete = false;
    std::unique_ptr<int32_t[]> next;  // [256], kUnknown at first
  };
  struct Closing {
    std::vector<Position> positions, open;
    std::vector<Position> seen;
    bool is_complete = false;
  };

  int32_t Next(int32_t set, uint8_t byte);
  int32_t Run(int32_t set, std::string_view bytes);
  int32_t FrameOf(int32_t state, int32_t count, int32_t below);  // -1 if the stack is full
  void Close(Position from, Closing* closing);
  void Arrive(int32_t repeat_state, uint32_t count, int32_t below, Closing* closing);
  int32_t SetOf(Closing* closing);
  void Walk(const GrammarVocabulary::Trie& trie, int32_t from, TokenMask* mask);
  void ForgetSets();

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const GrammarVocabulary> vocabulary_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, std::vector<int32_t>> frame_index_;
  std::vector<Set> sets_;
  std::unordered_map<uint64_t, std::vector<int32_t>> set_index_;
  int32_t current_ = 0;
  bool has_taken_ = false;
  std::vector<int32_t> walk_;  // sets by depth
  // Masks of the last sets asked for, newest first.
  std::list<std::pair<int32_t, TokenMask>> masks_;
};

}  // namespace planish
