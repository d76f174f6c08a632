// SPDX-License-Identifier: Apache-2.0
#include "infer/grammar_vocabulary.h"

#include <algorithm>

#include "base/error.h"
#include "text/reasoning.h"
#include "text/tool_call_parser.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr uint32_t kPrefixes =
    32;  // few tokens have more characters; 16 KiB each at 131,072 tokens

// 0 unless all of it is plain inside a JSON string.
uint32_t PlainCharacters(std::string_view text) {
  uint32_t count = 0;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') return 0;
    count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }
  return ValidUtf8Prefix(text) == text.size() ? count : 0;
}

bool IsTag(std::string_view text) {
  for (const std::string_view tag :
       {kToolcallTag, kToolcallEndTag, kToolCallTag, kToolCallEndTag, kOpenTag, kCloseTag}) {
    if (text == tag) return true;
  }
  return false;
}

}  // namespace

GrammarVocabulary::Trie GrammarVocabulary::MakeTrie(
    const std::vector<std::pair<std::string_view, int32_t>>& sorted) {
  Trie trie;
  std::vector<size_t> path;  // nodes from the root to the last one
  std::string_view last;
  const auto close = [&](size_t depth) {
    while (path.size() > depth) {
      trie.nodes[path.back()].end = static_cast<uint32_t>(trie.nodes.size());
      path.pop_back();
    }
  };
  for (const auto& [text, id] : sorted) {
    size_t common = 0;
    while (common < std::min(text.size(), last.size()) && text[common] == last[common]) ++common;
    close(common);
    for (size_t i = common; i < text.size(); ++i) {
      path.push_back(trie.nodes.size());
      trie.nodes.push_back({0, static_cast<uint32_t>(trie.tokens.size()),
                            static_cast<uint16_t>(i + 1), static_cast<uint8_t>(text[i])});
    }
    trie.tokens.push_back(id);
    last = text;
  }
  close(0);
  trie.nodes.push_back({0, static_cast<uint32_t>(trie.tokens.size()), 0, 0});
  return trie;
}

std::shared_ptr<const GrammarVocabulary> GrammarVocabulary::Make(
    std::shared_ptr<const Tokenizer> tokenizer, size_t size) {
  auto vocabulary = std::make_shared<GrammarVocabulary>();
  GrammarVocabulary& v = *vocabulary;
  v.tokenizer_ = std::move(tokenizer);
  v.size_ = std::max(size, v.tokenizer_->vocab_size());
  v.is_text_.assign(v.size_, 0);
  std::vector<std::pair<std::string_view, int32_t>> all, not_plain;
  v.prefix_.assign(kPrefixes, TokenMask(v.size_));
  for (size_t i = 0; i < v.tokenizer_->vocab_size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string_view text = v.tokenizer_->TokenBytes(id);
    if (text.empty() || text.size() > 0xFFFF || (v.tokenizer_->IsSpecial(id) && !IsTag(text)))
      continue;
    v.is_text_[i] = 1;
    all.push_back({text, id});
    const uint32_t characters = PlainCharacters(text);
    if (characters == 0) not_plain.push_back({text, id});
    for (uint32_t k = characters; k > 0 && k <= kPrefixes; ++k) v.prefix_[k - 1].Allow(i);
    if (characters > kPrefixes) v.longer_.push_back({characters, id});
  }
  std::sort(all.begin(), all.end());
  std::sort(not_plain.begin(), not_plain.end());
  std::sort(v.longer_.begin(), v.longer_.end());
  v.all_ = MakeTrie(all);
  v.not_plain_ = MakeTrie(not_plain);
  return vocabulary;
}

void GrammarVocabulary::AllowPlain(uint32_t characters, TokenMask* mask) const {
  if (characters == 0) return;
  mask->Unite(prefix_[std::min(characters, kPrefixes) - 1]);
  for (const auto& [count, id] : longer_) {
    if (count > characters) break;
    mask->Allow(static_cast<size_t>(id));
  }
}

std::string_view GrammarVocabulary::Bytes(int32_t id) const {
  const auto i = static_cast<size_t>(id);
  return i < size_ && is_text_[i] ? tokenizer_->TokenBytes(id) : std::string_view();
}

}  // namespace planish
