// SPDX-License-Identifier: Apache-2.0
// Training of a byte-level BPE vocabulary: of all adjacent pairs of symbols inside words, the one that occurs most often in the
// corpus becomes a new symbol, again and again. Gives the ids and merges of Hugging Face tokenizers 0.23 (BpeTrainer with the
// whole byte alphabet) on the same texts and settings:
// - ids: special tokens in the given order, the 256 bytes in the order of their byte-level characters, then one per merge;
// - of pairs with equal counts the one with the smaller left id wins, then the smaller right id;
// - it stops at vocab_size tokens, or when the best pair occurs less than min_frequency times (or not at all);
// - two merges can make the same string: the second reuses its id, and a pair that is found again moves to its later rank.
// The result depends on the multiset of texts only: not on their order, nor on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"
#include "text/word_counts.h"

namespace planish {

struct BpeTrainOptions {
  size_t vocab_size = 0;       // special tokens and the byte alphabet included
  uint64_t min_frequency = 0;  // of a pair to merge; 0 and 1 mean the same
  // Tokens stay shorter than this many bytes (not equal: as Hugging Face's max_token_length); pairs of single bytes are merged
  // whatever it says. 0: no limit.
  size_t max_token_length = 0;
  std::vector<std::string> special_tokens;  // valid UTF-8, not empty; repeated ones count once
  // Ids behind those of special_tokens, for marks that belong to the text, such as <think>: a decoder that skips special
  // tokens keeps them. Same rules.
  std::vector<std::string> text_tokens;
};

struct LearnedBpe {
  std::vector<std::string> tokens;  // by id, spelled as in tokenizer.json
  std::vector<BpeMerge> merges;     // best first
};

// The merges of counted words, one special token or byte a symbol at first. Needs about 16 bytes of memory a byte of distinct
// words. Error(kUsage) when those exceed 4 GiB.
LearnedBpe LearnBpe(const WordCounts& words, const BpeTrainOptions& options);

class BpeTrainer {
 public:
  // `pre_tokenizer`: one of PreTokenizerNames(). Error(kUsage) for options that contradict each other or `limits`.
  BpeTrainer(const std::string& pre_tokenizer, BpeTrainOptions options);
  ~BpeTrainer();

  // Counts the words of texts of valid UTF-8, each a text of its own, on all threads. The texts are not kept. Special tokens
  // in them are text like any other.
  void Feed(std::span<const std::string_view> texts);
  size_t distinct_words() const;  // so far; those seen by several threads count once for each
  // Error(kUsage) if nothing was fed. Ends the trainer's use.
  std::shared_ptr<const Tokenizer> Train();

 private:
  struct Thread;
  std::string pre_tokenizer_name_;
  BpeTrainOptions options_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  std::vector<std::unique_ptr<Thread>> threads_;
};

}  // namespace planish
