// SPDX-License-Identifier: Apache-2.0
#include "tensor/json_members.h"

#include <algorithm>

#include "base/error.h"

namespace planish {
namespace {

// The object that is walked takes one level itself.
constexpr JsonParseOptions kPieceOptions = {.max_depth = limits::kJsonDepth - 1};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

std::string ParseJsonString(std::string_view literal, const std::string& where) {
  // Plain ASCII without escapes, as nearly every name is, needs no parser.
  if (literal.size() >= 2 && literal.front() == '"' && literal.back() == '"') {
    const std::string_view inside = literal.substr(1, literal.size() - 2);
    const auto is_plain = [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; };
    if (std::all_of(inside.begin(), inside.end(), is_plain)) return std::string(inside);
  }
  const Json parsed = ParseJson(literal, where, kPieceOptions);
  if (!parsed.is_string()) {
    throw BadFile("{}: found {}, expected a string", where, parsed.type_name());
  }
  return parsed.AsString();
}

JsonMembers::JsonMembers(std::string_view text, std::string where, uint64_t max_key_bytes)
    : text_(text), where_(std::move(where)), max_key_bytes_(max_key_bytes) {
  SkipSpace();
  Expect('{', "an object");
}

void JsonMembers::Fail(std::string_view expected) const {
  const std::string found = at_ < text_.size() ? Quoted(text_.substr(at_, 20)) : "the end";
  throw BadFile("{}: not valid JSON at byte {}: found {}, expected {}", where_, at_, found,
                expected);
}

void JsonMembers::SkipSpace() {
  while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
}

void JsonMembers::Expect(char c, std::string_view expected) {
  if (Peek() != c) Fail(expected);
  ++at_;
}

size_t JsonMembers::EndOfString(size_t begin) const {
  for (size_t i = begin + 1; i < text_.size(); ++i) {
    if (text_[i] == '\\') {
      ++i;
    } else if (text_[i] == '"') {
      return i + 1;
    }
  }
  throw BadFile("{}: not valid JSON: the string at byte {} has no end", where_, begin);
}

size_t JsonMembers::EndOfValue() const {
  size_t depth = 0;
  for (size_t i = at_; i < text_.size(); ++i) {
    switch (text_[i]) {
      case '"':
        i = EndOfString(i) - 1;
        break;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        if (depth == 0) return i;
        --depth;
        break;
      case ',':
        if (depth == 0) return i;
        break;
      default:
        break;
    }
  }
  throw BadFile("{}: not valid JSON: the value at byte {} has no end", where_, at_);
}

bool JsonMembers::Next() {
  SkipSpace();
  if (Peek() == '}') {
    ++at_;
    SkipSpace();
    if (at_ < text_.size()) Fail("nothing after the object");
    return false;
  }
  if (!is_first_) {
    Expect(',', "',' or '}'");
    SkipSpace();
  }
  is_first_ = false;
  if (Peek() != '"') Fail("a key in quotes");
  const size_t key_end = EndOfString(at_);
  if (key_end - at_ - 2 > max_key_bytes_) {
    throw BadFile("{}: the name at byte {} has {} bytes, expected at most {}", where_, at_,
                  key_end - at_ - 2, max_key_bytes_);
  }
  key_ = ParseJsonString(text_.substr(at_, key_end - at_), where_);
  at_ = key_end;
  SkipSpace();
  Expect(':', "':'");
  SkipSpace();
  offset_ = at_;
  const size_t end = EndOfValue();
  value_ = text_.substr(at_, end - at_);
  while (!value_.empty() && IsSpace(value_.back())) value_.remove_suffix(1);
  if (value_.empty()) Fail("a value");
  at_ = end;
  return true;
}

Json JsonMembers::ParseValue(uint64_t max_bytes) const {
  if (value_.size() > max_bytes) {
    throw BadFile("{}: the value of {} at byte {} has {} bytes, expected at most {}", where_,
                  Quoted(key_), offset_, value_.size(), max_bytes);
  }
  return ParseJson(value_, fmt::format("{}: value of {} at byte {}", where_, Quoted(key_), offset_),
                   kPieceOptions);
}

}  // namespace planish
