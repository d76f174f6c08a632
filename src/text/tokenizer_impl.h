// SPDX-License-Identifier: Apache-2.0
// Inside of Tokenizer, shared by tokenizer.cc and the writers. Not for users of the class.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/bpe.h"
#include "text/tokenizer_parts.h"

namespace planish {

// What one Encode call works with. Kept in a pool between calls, for the cache in it.
struct EncodeScratch {
  PreTokenizeScratch pre;
  BpeScratch bpe;
  std::vector<AddedMatch> matches, inner_matches;
  std::vector<uint32_t> begins;
  TracedText normal;
};

// Where the ids of an Encode call go. `origins`, if wanted, gets the offset in the text of the first byte of each id.
struct EncodeSink {
  std::vector<TokenId>* ids;
  std::vector<size_t>* origins;  // null if not wanted
};

struct TextRange {
  size_t begin, end;
};

struct Tokenizer::Impl {
  Impl(TokenizerParts given, const std::string& where);

  std::unique_ptr<EncodeScratch> TakeScratch() const;
  void ReturnScratch(std::unique_ptr<EncodeScratch> scratch) const;

  // Added tokens are matched inside `special` ranges only (in order, not touching each other).
  void EncodeText(std::string_view text, const std::vector<TextRange>& special,
                  EncodeScratch* scratch, const EncodeSink& sink) const;
  // text[range], which holds no added tokens of raw_matcher; ill-formed bytes become pieces of their own.
  void EncodePlain(std::string_view text, TextRange range, const std::vector<TextRange>& special,
                   EncodeScratch* scratch, const EncodeSink& sink) const;
  // The same for a range of valid UTF-8.
  void EncodeValid(std::string_view text, TextRange range, const std::vector<TextRange>& special,
                   EncodeScratch* scratch, const EncodeSink& sink) const;
  // Valid, normalised text without added tokens. Its byte i comes from origins[i], or from base + i without `origins`.
  void EncodePieces(std::string_view text, size_t base, std::span<const size_t> origins,
                    EncodeScratch* scratch, const EncodeSink& sink) const;

  TokenizerParts parts;  // `tokens` is empty: `vocabulary` has them
  Normalizer normalizer;
  Vocabulary vocabulary;
  Bpe bpe;
  PreTokenizer pre_tokenizer;
  AddedTokenMatcher raw_matcher;     // tokens looked for in the text as it is
  AddedTokenMatcher normal_matcher;  // tokens looked for after normalising
  std::vector<bool> is_special;      // by id
  std::unordered_map<std::string_view, TokenId> added_ids;  // by content

  mutable std::mutex pool_mutex;
  mutable std::vector<std::unique_ptr<EncodeScratch>> pool;
};

}  // namespace planish
