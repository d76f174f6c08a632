// SPDX-License-Identifier: Apache-2.0
#include "text/utf8.h"

#include <algorithm>
#include <cstring>

namespace planish {

Utf8Char DecodeUtf8Slow(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, false};
  uint32_t size;
  unsigned char low = 0x80, high = 0xBF;  // allowed range of the second byte
  char32_t code;
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
    code = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    code = first & 0x0F;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    code = first & 0x07;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {kIllFormed, 1, false};
  }
  for (uint32_t i = 1; i < size; ++i) {
    if (i >= text.size()) return {kIllFormed, i, true};
    if (byte(i) < low || byte(i) > high) return {kIllFormed, i, false};
    code = code << 6 | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code, size, false};
}

void AppendUtf8(char32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | code >> 6));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | code >> 12));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | code >> 18));
    out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

size_t ValidUtf8Prefix(std::string_view text) noexcept {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t word;
    while (at + sizeof(word) <= text.size()) {  // eight ASCII bytes at a time
      std::memcpy(&word, text.data() + at, sizeof(word));
      if ((word & 0x8080808080808080u) != 0) break;
      at += sizeof(word);
    }
    if (at == text.size()) break;
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (c.code == kIllFormed) return at;
    at += c.size;
  }
  return at;
}

std::string LossyUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (;;) {
    const size_t valid = ValidUtf8Prefix(text);
    out.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) return out;
    AppendUtf8(0xFFFD, &out);
    text.remove_prefix(DecodeUtf8(text).size);
  }
}

size_t CutUtf8Suffix(std::string_view text) noexcept {
  const size_t most = std::min<size_t>(3, text.size());
  for (size_t n = 1; n <= most; ++n) {
    const std::string_view tail = text.substr(text.size() - n);
    if ((static_cast<unsigned char>(tail[0]) & 0xC0) == 0x80)
      continue;  // a continuation byte: look further left
    const Utf8Char c = DecodeUtf8(tail);
    return c.is_cut && c.size == n ? n : 0;
  }
  return 0;
}

}  // namespace planish
