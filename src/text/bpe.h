// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one piece of text: starting from the tokens of its single bytes, the adjacent pair with the lowest
// rank is merged, leftmost first, until no pair is in the list. O(n log n) in the length of the piece.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace planish {

struct BpeMerge {
  TokenId left, right, result;
};

struct BpeOptions {
  bool ignore_merges = false;  // a piece that is a token as a whole becomes that token
  TokenId unk =
      kNoToken;  // for bytes without a token; kNoToken: such bytes are dropped, as Hugging Face tokenizers do
  bool fuse_unk = false;  // neighbouring unknown bytes become one
};

// Working memory, one per thread at a time: buffers, and a direct-mapped cache from short pieces to their ids. Bound to the
// Bpe it was first used with.
class BpeScratch {
 public:
  BpeScratch();

 private:
  friend class Bpe;
  static constexpr size_t kCacheEntries = size_t{1}
                                          << 14;  // 1 MiB; 2^15 gained under 3 % on English text
  static constexpr size_t kCachedBytes = 31, kCachedIds = 7;
  struct Entry {
    std::array<uint64_t, 4> key{};  // the bytes, zero padded, and their number in the last byte
    std::array<TokenId, kCachedIds> ids{};
    uint32_t count = 0;
  };
  struct Symbol {
    TokenId id;
    uint32_t begin;       // offset in the piece
    uint32_t is_live;     // 0 once merged into its left neighbour
    uint32_t prev, next;  // indices, kNone at the ends
  };
  struct Candidate {
    uint32_t rank, at;
    TokenId result;
  };
  std::vector<Entry> cache_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

class Bpe {
 public:
  // `vocabulary` must outlive this. Later duplicates of a pair replace earlier ones.
  Bpe(const Vocabulary* vocabulary, const std::vector<BpeMerge>& merges, const BpeOptions& options);

  const BpeOptions& options() const { return options_; }
  bool has_all_bytes() const { return has_all_bytes_; }
  // Appends the ids of `piece` (not empty).
  void Encode(std::string_view piece, BpeScratch* scratch, std::vector<TokenId>* ids) const;
  // The same with the offset in `piece` of the first byte of each id appended to `begins`; slower.
  void EncodeTraced(std::string_view piece, BpeScratch* scratch, std::vector<TokenId>* ids,
                    std::vector<uint32_t>* begins) const;
  // True if merging the bytes of every indexed token gives that token, so that ignore_merges changes nothing.
  bool MergesReachAllTokens(const std::vector<TokenId>& tokens) const;

 private:
  struct Slot {
    uint64_t pair;
    uint32_t rank;
    TokenId result;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static constexpr uint32_t kNone = ~uint32_t{0};

  const Slot* FindMerge(TokenId left, TokenId right) const noexcept;
  void Start(std::string_view piece, BpeScratch* scratch) const;
  void MergeFew(std::vector<BpeScratch::Symbol>* symbols) const;
  void MergeMany(BpeScratch* scratch) const;
  void Merge(std::string_view piece, BpeScratch* scratch) const;

  const Vocabulary* vocabulary_;
  BpeOptions options_;
  std::array<TokenId, 256> byte_ids_;
  bool has_all_bytes_ = true;
  std::vector<Slot> slots_;  // open addressing, at most half full
  uint64_t mask_ = 0;
};

}  // namespace planish
