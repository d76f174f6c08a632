// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE tokenizer of the Llama 3, Qwen, tekken and SmolLM2 families, equal to Hugging Face tokenizers 0.23 id for
// id. Made from a tokenizer.json, or from the vocabulary inside a GGUF file; can be written back as either.
// Immutable after construction: safe to share between threads.
// Text need not be valid UTF-8: each byte that is not part of a character is a piece of its own, so text of any bytes comes
// back through ids unchanged in TokenBytes (if every byte has a token and the normalizer changes nothing).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/added_tokens.h"
#include "text/vocabulary.h"

namespace planish {

// What a GGUF file says of its tokenizer (tokenizer.ggml.*).
struct GgufVocabulary {
  std::string pre;  // tokenizer.ggml.pre: "llama-bpe", "smollm", "qwen2", "tekken", ...
  std::vector<std::string>
      tokens;  // in byte-level spelling; user-defined and control tokens as plain text
  std::vector<int64_t> types;  // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;  // "a b"
  std::optional<TokenId> bos, eos, unk, pad;
  bool add_bos = false, add_eos = false;
};

struct EncodeOptions {
  // Match the text of added tokens, control or not; false: a user's "<|eot_id|>" (or "<think>") stays plain text.
  bool parse_special = true;
  bool add_special = false;  // what the post-processor inserts (BOS)
};

// A piece of text and whether added tokens may be matched in it (template literals yes, message contents no).
struct TextSpan {
  std::string_view text;
  bool parse_special = false;
};

class Tokenizer {
 public:
  // Error(kBadFile) naming `where` and the JSON path. Unsupported models (unigram, wordpiece, sentencepiece BPE with byte
  // fallback) say so.
  static std::shared_ptr<const Tokenizer> FromJson(const std::string& json_text,
                                                   const std::string& where);
  static std::shared_ptr<const Tokenizer> FromGguf(const GgufVocabulary& vocabulary,
                                                   const std::string& where);
  // Inverse directions, for convert: a tokenizer.json that Hugging Face tokenizers loads to the same ids, and the GGUF arrays.
  // ToGguf: Error(kUsage) when the pre-tokenizer has no GGUF name.
  Json ToJson() const;
  GgufVocabulary ToGguf() const;

  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  // The same, appended to `ids`.
  void Append(std::string_view text, const EncodeOptions& options, std::vector<TokenId>* ids) const;
  // True if a text cut at PlaceToCut (text/pretokenize.h) has the ids of the whole, with `parse_special` or without; what
  // add_special puts around a text aside.
  bool CutsAtLines(bool parse_special) const;
  // Encodes the concatenation of the spans: merges cross span borders, added tokens are matched only inside runs of spans
  // with parse_special. `owner`, if given, gets for each id the index of the span its first byte came from.
  std::vector<TokenId> EncodeSpans(std::span<const TextSpan> spans,
                                   std::vector<uint32_t>* owner = nullptr) const;
  std::string Decode(std::span<const TokenId> ids, bool skip_special = false) const;
  // The bytes a token stands for (not necessarily valid UTF-8 alone); empty for ids outside the vocabulary.
  std::string_view TokenBytes(TokenId id) const;
  bool IsSpecial(TokenId id) const;
  std::optional<TokenId> Find(
      std::string_view content) const;  // an added token by text, or a token by its bytes
  size_t vocab_size() const;            // largest id + 1
  const std::vector<AddedToken>& added_tokens() const;
  // Ids that add_special puts before a text (BOS) and after it, empty if none.
  std::vector<TokenId> PrefixIds() const;
  std::vector<TokenId> SuffixIds() const;

  ~Tokenizer();

 private:
  friend class TokenizerBuilder;
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Turns a growing list of ids into text piece by piece, holding back bytes of an incomplete UTF-8 sequence. The sum of all
// pieces plus Finish() equals Decode of all ids (invalid bytes become U+FFFD as Hugging Face tokenizers do).
class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}
  std::string Push(TokenId id);
  std::string Finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  std::string held_;
};

}  // namespace planish
