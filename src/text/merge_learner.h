// SPDX-License-Identifier: Apache-2.0
// The inner loop of BPE training: words as one array of symbols in which pairs are replaced in place, a priority queue of
// pairs, and pair counts kept up to date by the neighbours of what was merged, so that a merge costs time in proportion to
// the places it changes. Exact twin of the queue of Hugging Face tokenizers, its stale entries included: see bpe_train.h.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "text/vocabulary.h"  // TokenId
#include "text/word_counts.h"

namespace planish {

class MergeLearner {
 public:
  struct Best {
    TokenId left = kNoToken, right = kNoToken;
    uint64_t count = 0;
  };
  // byte_ids: the symbol of each byte. Symbols of merges of merges stay shorter than max_length bytes; 0: no limit.
  MergeLearner(const WordCounts& words, const std::vector<TokenId>& byte_ids, size_t max_length);

  // The pair to merge next; count 0 when no pair is left.
  Best Next();
  // Replaces that pair by `result`; is_new: no other pair was replaced by it before.
  void Merge(TokenId result, bool is_new);

 private:
  using Symbol = uint32_t;
  struct Run {  // words of equal count lie next to each other, the most frequent ones first
    uint64_t end;
    int64_t count;
  };
  struct
      Entry {  // of the queue: places_[begin, begin + size) are where the pair was seen, in order
    int64_t count;
    Symbol left, right;
    uint64_t begin;
    uint64_t size;
  };
  struct IsWorse {
    bool operator()(const Entry& a, const Entry& b) const {
      if (a.count != b.count) return a.count < b.count;
      return a.left != b.left ? a.left > b.left : a.right > b.right;
    }
  };
  // Counts by pair; pairs are never removed.
  class PairCounts {
   public:
    int64_t& operator()(Symbol left, Symbol right);

   private:
    struct Slot {
      uint64_t pair;
      int64_t count;
    };
    std::vector<Slot> slots_;  // open addressing, at most half full
    size_t used_ = 0;
    void Grow();
  };
  // What a merge changes on one side: by neighbour, its count, and the places of the new pairs.
  struct Side {
    struct Place {
      Symbol neighbour;
      uint32_t at;
    };
    std::vector<int64_t> delta;   // by symbol, 0 between merges
    std::vector<uint32_t> count;  // of places by symbol, 0 between merges
    std::vector<Symbol> touched;  // in order of first appearance
    std::vector<Place> places;    // in order of `at`
  };

  void Fill(const WordCounts& words, const std::vector<TokenId>& byte_ids);
  void CountBytePairs();
  void AddSymbol(Symbol symbol, uint32_t bytes);
  bool Fits(Symbol left, Symbol right) const {
    return uint64_t{bytes_[left]} + bytes_[right] < max_length_;
  }
  void Touch(Side* side, Symbol neighbour, int64_t count, uint32_t at);
  // All places where the words around the given places have the pair.
  std::vector<uint32_t> PlacesInWords(const Entry& entry) const;
  void Replace(const uint32_t* places, size_t n, Symbol result);
  void ApplyDeltas(Symbol result);
  // Moves the places of a side to the pool; out[i] is the entry (without count) of touched[i].
  void Collect(Side* side, bool is_left, Symbol result, std::vector<Entry>* out);

  void JoinTwins(Symbol result, std::vector<Entry>* entries);

  static constexpr Symbol kBoundary = ~Symbol{0};  // before, between and after the words
  static constexpr Symbol kInside = kBoundary - 1;

  std::vector<Symbol> at_;  // by byte: the symbol at its first and at its last byte
  std::vector<Run> runs_;
  std::vector<uint32_t> bytes_;  // by symbol: its size
  std::vector<bool> is_reused_;  // by symbol: several merges made it
  uint64_t max_length_;
  std::vector<uint32_t> places_;
  PairCounts counts_;
  std::priority_queue<Entry, std::vector<Entry>, IsWorse> queue_;
  Entry best_{};
  Side left_, right_;
};

}  // namespace planish
