// SPDX-License-Identifier: Apache-2.0
// Walks the members of one JSON object, member by member, without a tree of the whole: a header of
// 100 MB full of tiny values would cost gigabytes as a tree. Each key and value is still parsed by
// base/json, so what is accepted is exactly JSON. Used for the headers and indexes of safetensors.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace planish {

class JsonMembers {
 public:
  // `text` must be one object, with white space around it allowed; `where` names the file. Both the
  // text and what value() returns must outlive this walk.
  JsonMembers(std::string_view text, std::string where, uint64_t max_key_bytes);

  // Goes to the next member; false after the last one. Error(kBadFile) when the text is not JSON.
  bool Next();
  const std::string& key() const { return key_; }
  std::string_view value() const { return value_; }  // its text; only ParseValue checks it
  size_t offset() const { return offset_; }          // of the value in `text`
  // The parsed value; a text of more than `max_bytes` is an Error.
  Json ParseValue(uint64_t max_bytes) const;

 private:
  [[noreturn]] void Fail(std::string_view expected) const;
  void SkipSpace();
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void Expect(char c, std::string_view expected);
  size_t EndOfString(size_t begin) const;  // one past the closing quote
  size_t EndOfValue() const;

  std::string_view text_;
  std::string where_;
  uint64_t max_key_bytes_;
  size_t at_ = 0;
  bool is_first_ = true;
  std::string key_;
  std::string_view value_;
  size_t offset_ = 0;
};

// The content of a JSON string literal (with its quotes); Error naming `where` if it is none.
std::string ParseJsonString(std::string_view literal, const std::string& where);

}  // namespace planish
