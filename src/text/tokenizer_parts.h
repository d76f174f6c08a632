// SPDX-License-Identifier: Apache-2.0
// Everything that makes a tokenizer, as plain data: what the readers of tokenizer.json and GGUF fill in, what the writers need
// back, and the checks both sources share.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace planish {

struct TokenizerParts {
  std::vector<std::string> tokens;  // by id, spelled as in tokenizer.json; no gaps
  std::vector<bool> in_model;    // by id: in the BPE model's vocabulary (else an added token only)
  std::vector<BpeMerge> merges;  // best first
  bool ignore_merges = false;
  bool fuse_unk = false;
  std::string unk_token;          // empty: none
  std::vector<AddedToken> added;  // by increasing id
  std::vector<NormalizeStep> normalizer;
  std::vector<PreTokenizeStep> pre_tokenizer;
  std::vector<TokenId> prefix, suffix;        // what add_special puts around a text
  std::optional<TokenId> bos, eos, unk, pad;  // where the file says
};

// The names GGUF gives to pre-tokenizers ("llama3", "gpt-2", "qwen2", "tekken", "smollm", ...), aliases included.
std::vector<std::string> PreTokenizerNames();
// Sets normalizer and pre-tokenizer; false for an unknown name.
bool SetPreTokenizer(const std::string& name, TokenizerParts* parts);

// The one way to make a Tokenizer. Error(kBadFile) naming `where` for parts that contradict each other.
class TokenizerBuilder {
 public:
  static std::shared_ptr<const Tokenizer> Build(TokenizerParts parts, const std::string& where);
};

// Turns merges given as text into ids: the parts and their concatenation must be tokens of the model.
class MergeResolver {
 public:
  MergeResolver(const TokenizerParts& parts, std::string where);
  // Error(kBadFile) naming merge number `index` if one of the three is no token or a part is empty.
  BpeMerge Resolve(std::string_view left, std::string_view right, size_t index);
  // The same for "left right".
  BpeMerge Resolve(std::string_view both, size_t index);

 private:
  TokenId Find(std::string_view token, size_t index) const;
  std::string where_;
  std::unordered_map<std::string_view, TokenId> ids_;
  std::string whole_;
};

}  // namespace planish
