// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace planish {
namespace {

bool IsSpace(char32_t code) {
  return code < 0x110000 && (UnicodeClasses()[code] & kWhiteSpace) != 0;
}

// The character that ends at `end`; its size is 0 at the start of the text.
Utf8Char CharacterBefore(std::string_view text, size_t end) {
  size_t begin = end;
  while (begin > 0 && end - begin < 4) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xC0) != 0x80) break;
  }
  if (begin == end) return {kIllFormed, 0, false};
  const Utf8Char c = DecodeUtf8(text.substr(begin, end - begin));
  return c.size == end - begin ? c : Utf8Char{kIllFormed, 1, false};
}

bool WordEndsAt(std::string_view text, size_t end) {
  const Utf8Char c = CharacterBefore(text, end);
  return c.size > 0 && c.code != kIllFormed && IsWordCharacter(c.code);
}

bool WordStartsAt(std::string_view text, size_t begin) {
  if (begin >= text.size()) return false;
  const Utf8Char c = DecodeUtf8(text.substr(begin));
  return c.code != kIllFormed && IsWordCharacter(c.code);
}

size_t SpacesBegin(std::string_view text, size_t end, size_t first) {
  while (end > first) {
    const Utf8Char c = CharacterBefore(text, end);
    if (c.code == kIllFormed || !IsSpace(c.code)) break;
    end -= c.size;
  }
  return std::max(end, first);
}

size_t SpacesEnd(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(begin));
    if (c.code == kIllFormed || !IsSpace(c.code)) break;
    begin += c.size;
  }
  return begin;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens,
                                     const std::vector<std::string>& patterns)
    : tokens_(std::move(tokens)) {
  PLANISH_CHECK(tokens_.size() == patterns.size());
  nodes_.emplace_back();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    sizes_.push_back(patterns[i].size());
    if (!patterns[i].empty()) Insert(patterns[i], static_cast<uint32_t>(i));
  }
  LinkFailures();
}

uint32_t AddedTokenMatcher::Child(uint32_t node, unsigned char byte) const {
  if (node == 0) return from_root_[byte];
  const auto found = edges_.find(uint64_t{node} << 8 | byte);
  return found == edges_.end() ? 0 : found->second;
}

// Reversed: the automaton reads text from the right. Of two tokens with one pattern the first keeps it.
void AddedTokenMatcher::Insert(std::string_view pattern, uint32_t token) {
  uint32_t node = 0;
  for (size_t i = pattern.size(); i-- > 0;) {
    const auto byte = static_cast<unsigned char>(pattern[i]);
    uint32_t child = Child(node, byte);
    if (child == 0) {
      child = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      if (node == 0)
        from_root_[byte] = child;
      else
        edges_.emplace(uint64_t{node} << 8 | byte, child);
    }
    node = child;
  }
  if (nodes_[node].longest == 0) nodes_[node].longest = token + 1;
}

uint32_t AddedTokenMatcher::Step(uint32_t state, unsigned char byte) const {
  for (;;) {
    if (const uint32_t child = Child(state, byte)) return child;
    if (state == 0) return 0;
    state = nodes_[state].fail;
  }
}

// Level by level, so that the failure link of a parent is there before its children need it.
void AddedTokenMatcher::LinkFailures() {
  std::vector<std::vector<std::pair<unsigned char, uint32_t>>> children(nodes_.size());
  for (const auto& [key, child] : edges_)
    children[key >> 8].emplace_back(static_cast<unsigned char>(key), child);
  std::vector<uint32_t> level;
  for (const uint32_t child : from_root_) {
    if (child != 0) level.push_back(child);
  }
  while (!level.empty()) {
    std::vector<uint32_t> next;
    for (const uint32_t node : level) {
      Node& here = nodes_[node];
      if (here.longest == 0) here.longest = nodes_[here.fail].longest;
      for (const auto& [byte, child] : children[node]) {
        nodes_[child].fail = Step(here.fail, byte);
        next.push_back(child);
      }
    }
    level.swap(next);
  }
}

void AddedTokenMatcher::Find(std::string_view text, size_t begin, size_t end,
                             std::vector<AddedMatch>* matches) const {
  if (tokens_.empty()) return;
  struct Hit {
    size_t at;
    uint32_t token;
  };
  std::vector<Hit> hits;  // right to left
  uint32_t state = 0;
  for (size_t at = end; at-- > begin;) {
    const auto byte = static_cast<unsigned char>(text[at]);
    state = state == 0 ? from_root_[byte] : Step(state, byte);
    if (state != 0 && nodes_[state].longest != 0) hits.push_back({at, nodes_[state].longest - 1});
  }
  size_t from = begin;                                        // where the next match may start
  size_t taken = matches->empty() ? 0 : matches->back().end;  // what an lstrip may not take again
  size_t spaces_end =
      0;  // of the white space that the last rstrip took: not to be walked once per match in it
  for (size_t i = hits.size(); i-- > 0;) {
    const auto [at, index] = hits[i];
    if (at < from) continue;
    const AddedToken& token = tokens_[index];
    from = at + sizes_[index];
    AddedMatch match{at, from, token.id};
    // A match that is part of a word is given up, but its text stays used.
    if (token.single_word && (WordEndsAt(text, match.begin) || WordStartsAt(text, match.end)))
      continue;
    if (token.lstrip) match.begin = std::max(taken, SpacesBegin(text, at, std::min(taken, at)));
    if (token.rstrip)
      match.end = spaces_end = match.end <= spaces_end ? spaces_end : SpacesEnd(text, match.end);
    taken = match.end;
    if (match.begin < match.end) matches->push_back(match);  // else the match before took all of it
  }
}

}  // namespace planish
