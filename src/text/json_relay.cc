// SPDX-License-Identifier: Apache-2.0
#include "text/json_relay.h"

#include <cctype>

#include "base/limits.h"
#include "text/utf8.h"

namespace planish {
namespace {

constexpr size_t kScalarBytes = 400;  // the longest number a double prints as has 325

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

bool IsJsonNumber(std::string_view s) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < s.size() && IsDigit(s[i])) ++i;
    return i > begin;
  };
  if (i < s.size() && s[i] == '-') ++i;
  const size_t first = i;
  if (!digits() || (s[first] == '0' && i > first + 1)) return false;
  if (i < s.size() && s[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    ++i;
    if (i < s.size() && (s[i] == '+' || s[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == s.size();
}

}  // namespace

void JsonRelay::Release(std::string* out) {
  out->append(held_);
  held_.clear();
}

JsonRelay::Status JsonRelay::ValueEnded() {
  expect_ = stack_.empty() ? Expect::kDone : Expect::kCommaOrEnd;
  return stack_.empty() ? Status::kDone : Status::kMore;
}

bool JsonRelay::EndScalar(std::string* out) {
  if (held_ == "True") held_ = "true";
  if (held_ == "False") held_ = "false";
  if (held_ == "None") held_ = "null";
  if (held_ != "true" && held_ != "false" && held_ != "null" && !IsJsonNumber(held_)) return false;
  Release(out);
  return true;
}

// A closing bracket, or what else can end the value from outside. Brackets left open inside it are closed first; one that
// was never opened here, or the '<' of a closing tag, ends the whole value and belongs to the caller.
JsonRelay::Status JsonRelay::Close(char c, std::string* out) {
  if (expect_ != Expect::kCommaOrEnd && expect_ != Expect::kKeyOrEnd &&
      expect_ != Expect::kValueOrEnd && held_.empty())
    return Status::kBroken;
  if (!held_.empty()) held_.erase(0, 1);  // the comma that nothing follows
  Release(out);
  const char open = c == '}' ? '{' : c == ']' ? '[' : '\0';
  const bool is_ours = open != '\0' && stack_.find(open) != std::string::npos;
  while (!stack_.empty()) {
    const char top = stack_.back();
    stack_.pop_back();
    out->push_back(top == '{' ? '}' : ']');
    if (is_ours && top == open) return ValueEnded();
  }
  expect_ = Expect::kDone;
  return Status::kDoneBefore;
}

JsonRelay::Status JsonRelay::InString(char c, std::string* out) {
  if (hex_left_ > 0) {
    if (!IsHex(c)) {  // no escape after all: a path such as "C:\users"
      hex_left_ = 0;
      *out += "\\\\u" + hex_;
      hex_.clear();
      return InString(c, out);
    }
    hex_ += c;
    if (--hex_left_ == 0) {
      *out += "\\u" + hex_;
      hex_.clear();
    }
    return Status::kMore;
  }
  if (escaped_) {
    escaped_ = false;
    if (c == 'u') {
      hex_left_ = 4;
    } else if (c == '\'') {
      out->push_back(c);
    } else if (std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos) {
      out->push_back('\\');
      out->push_back(c);
    } else {
      *out += "\\\\";
      return InString(c, out);
    }
    return Status::kMore;
  }
  if (c == '\\') {
    escaped_ = true;
  } else if (c == quote_) {
    out->push_back('"');
    if (is_key_) {
      expect_ = Expect::kColon;
      return Status::kMore;
    }
    return ValueEnded();
  } else if (c == '"') {
    *out += "\\\"";
  } else if (static_cast<unsigned char>(c) < 0x20) {
    static constexpr char kDigits[] = "0123456789abcdef";
    if (c == '\n') {
      *out += "\\n";
    } else if (c == '\t') {
      *out += "\\t";
    } else if (c == '\r') {
      *out += "\\r";
    } else {
      *out += "\\u00";
      out->push_back(kDigits[c >> 4]);
      out->push_back(kDigits[c & 15]);
    }
  } else {
    out->push_back(c);
  }
  return Status::kMore;
}

JsonRelay::Status JsonRelay::Push(char c, std::string* out) {
  if (expect_ == Expect::kString) return InString(c, out);
  if (expect_ == Expect::kDone) return Status::kDoneBefore;
  if (expect_ == Expect::kScalar) {
    if (IsDigit(c) || c == '+' || c == '-' || c == '.' ||
        std::isalpha(static_cast<unsigned char>(c))) {
      if (held_.size() >= kScalarBytes) return Status::kBroken;
      held_ += c;
      return Status::kMore;
    }
    if (!EndScalar(out)) return Status::kBroken;
    if (ValueEnded() == Status::kDone) return Status::kDoneBefore;
  }
  if (IsBlank(c)) {
    (held_.empty() ? *out : held_).push_back(c);
    return Status::kMore;
  }
  if (c == '}' || c == ']' || (c == '<' && expect_ == Expect::kCommaOrEnd)) return Close(c, out);
  const bool takes_key = expect_ == Expect::kKey || expect_ == Expect::kKeyOrEnd;
  const bool takes_value = expect_ == Expect::kValue || expect_ == Expect::kValueOrEnd;
  if (c == ',' && expect_ == Expect::kCommaOrEnd) {
    held_ = ",";
    expect_ = stack_.back() == '{' ? Expect::kKey : Expect::kValue;
  } else if (c == ':' && expect_ == Expect::kColon) {
    out->push_back(c);
    expect_ = Expect::kValue;
  } else if ((c == '"' || c == '\'') && (takes_key || takes_value)) {
    Release(out);
    out->push_back('"');
    quote_ = c;
    is_key_ = takes_key;
    expect_ = Expect::kString;
  } else if ((c == '{' || c == '[') && takes_value) {
    if (stack_.size() >= limits::kJsonDepth) return Status::kBroken;
    Release(out);
    out->push_back(c);
    stack_ += c;
    expect_ = c == '{' ? Expect::kKeyOrEnd : Expect::kValueOrEnd;
  } else if (takes_value &&
             (IsDigit(c) || c == '-' || std::isalpha(static_cast<unsigned char>(c)))) {
    Release(out);
    held_ = c;
    expect_ = Expect::kScalar;
  } else {
    return Status::kBroken;
  }
  return Status::kMore;
}

JsonRelay::Status JsonRelay::Finish(std::string* out) {
  if (expect_ == Expect::kScalar && stack_.empty() && EndScalar(out)) expect_ = Expect::kDone;
  return expect_ == Expect::kDone ? Status::kDone : Status::kBroken;
}

bool JsonStringDecoder::Push(char c, std::string* out) {
  const auto drop_high = [&] {
    if (high_ != 0) AppendUtf8(0xFFFD, out);
    high_ = 0;
  };
  if (hex_left_ > 0) {
    const int digit = IsDigit(c) ? c - '0' : IsHex(c) ? (c | 32) - 'a' + 10 : 0;
    code_ = code_ << 4 | static_cast<char32_t>(digit);
    if (--hex_left_ > 0) return true;
    if (code_ >= 0xD800 && code_ < 0xDC00) {
      drop_high();
      high_ = code_;
    } else if (code_ >= 0xDC00 && code_ < 0xE000) {
      const char32_t pair = 0x10000 + ((high_ - 0xD800) << 10) + (code_ - 0xDC00);
      AppendUtf8(high_ != 0 ? pair : 0xFFFD, out);
      high_ = 0;
    } else {
      drop_high();
      AppendUtf8(code_, out);
    }
    return true;
  }
  if (escaped_) {
    escaped_ = false;
    if (c == 'u') {
      hex_left_ = 4;
      code_ = 0;
      return true;
    }
    drop_high();
    const size_t at = std::string_view("bfnrt").find(c);
    out->push_back(at == std::string_view::npos ? c : "\b\f\n\r\t"[at]);
    return true;
  }
  if (c == '\\') {
    escaped_ = true;
    return true;
  }
  drop_high();
  if (c == '"') return false;
  out->push_back(c);
  return true;
}

}  // namespace planish
