// SPDX-License-Identifier: Apache-2.0
// A vocabulary laid out for grammars: its tokens as a trie in one array, and which of them are plain characters of a JSON
// string, because inside strings nearly all are and no walk is needed to know it. Made once a model, shared, immutable.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "infer/sampler.h"
#include "text/tokenizer.h"

namespace planish {

class GrammarVocabulary {
 public:
  // Control tokens are left out, for a grammar is about text; the tags of tool calls are text even where they are such
  // tokens. `size`: of the model's logits, at least the tokenizer's.
  static std::shared_ptr<const GrammarVocabulary> Make(std::shared_ptr<const Tokenizer> tokenizer,
                                                       size_t size = 0);

  // Preorder: a node's children follow it, and `end` is the node after the last of them.
  struct Node {
    uint32_t end;
    uint32_t first_token;  // its tokens are tokens[first_token .. first_token of the next node)
    uint16_t depth;        // bytes of the text, 1 for the first
    uint8_t byte;
  };
  struct Trie {
    std::vector<Node> nodes;  // one more at the end, for its first_token
    std::vector<int32_t> tokens;
  };
  const Trie& all() const { return all_; }
  const Trie& not_plain() const { return not_plain_; }
  // Tokens of 1 to `characters` plain characters of a JSON string (no quote, backslash or control, whole UTF-8).
  void AllowPlain(uint32_t characters, TokenMask* mask) const;

  size_t size() const { return size_; }
  std::string_view Bytes(int32_t id) const;  // empty for tokens that are left out
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  static Trie MakeTrie(const std::vector<std::pair<std::string_view, int32_t>>& sorted);
  std::shared_ptr<const Tokenizer> tokenizer_;
  size_t size_ = 0;
  std::vector<char> is_text_;
  Trie all_, not_plain_;
  // prefix_[k]: tokens of at most k + 1 characters; the rest one by one, shortest first.
  std::vector<TokenMask> prefix_;
  std::vector<std::pair<uint32_t, int32_t>> longer_;
};

}  // namespace planish
