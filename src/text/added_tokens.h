// SPDX-License-Identifier: Apache-2.0
// Finding added tokens ("<|im_start|>", "<think>") in text: leftmost match first, longest at a place, without overlaps, then
// the token's own rules on word borders and surrounding white space; as Hugging Face tokenizers' AddedVocabulary does. Time is
// linear in the text whatever the tokens are: an Aho-Corasick automaton of the reversed tokens runs from right to left and
// notes the longest token that starts at each place.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/vocabulary.h"

namespace planish {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;  // control token: skipped by Decode(skip_special)
  bool single_word = false, lstrip = false, rstrip = false, normalized = false;

  bool operator==(const AddedToken&) const = default;
};

struct AddedMatch {
  size_t begin, end;  // with the white space that lstrip and rstrip take
  TokenId id;
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // `tokens` are looked for under `patterns`: their contents, or the normal forms of those. Empty patterns are skipped.
  AddedTokenMatcher(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns);

  bool empty() const { return tokens_.empty(); }
  // Appends the matches inside text[begin, end), in order; the text around decides about word borders and is taken by lstrip
  // and rstrip where it is white space. Calls for one text go from left to right.
  void Find(std::string_view text, size_t begin, size_t end,
            std::vector<AddedMatch>* matches) const;

 private:
  struct Node {
    uint32_t fail = 0;
    uint32_t longest =
        0;  // 1 + index of the longest token that is a suffix of this state's string, 0 if none
  };
  uint32_t Child(uint32_t node, unsigned char byte) const;  // 0 if none
  uint32_t Step(uint32_t state, unsigned char byte) const;
  void Insert(std::string_view pattern, uint32_t token);
  void LinkFailures();

  std::vector<AddedToken> tokens_;
  std::vector<size_t> sizes_;                     // of the patterns, by token
  std::vector<Node> nodes_;                       // 0 is the root
  std::unordered_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> child
  std::array<uint32_t, 256> from_root_{};
};

}  // namespace planish
