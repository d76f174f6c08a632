// SPDX-License-Identifier: Apache-2.0
// Strict UTF-8: decoding one character, measuring the valid part of a text, and the lossy form in which each ill-formed
// stretch becomes one U+FFFD (maximal subparts, Unicode 15 section 3.9; the same choice as Rust's from_utf8_lossy).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace planish {

inline constexpr char32_t kIllFormed = 0xFFFFFFFF;

struct Utf8Char {
  char32_t code = kIllFormed;  // kIllFormed: the `size` bytes are a maximal ill-formed subpart
  uint32_t size = 0;           // bytes taken, at least 1
  bool is_cut = false;  // ill-formed only because the text ends here: more bytes could complete it
};

// First character of `text`, which must not be empty. Surrogates, overlong forms and codes above U+10FFFF are ill-formed.
Utf8Char DecodeUtf8Slow(std::string_view text) noexcept;
inline Utf8Char DecodeUtf8(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1, false};
  return DecodeUtf8Slow(text);
}
// The character at `p` of text known to be valid; advances `p`.
inline char32_t NextValidUtf8(const char*& p) noexcept {
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t first = byte(0);
  if (first < 0x80) {
    p += 1;
    return first;
  }
  if (first < 0xE0) {
    const char32_t code = (first & 0x1F) << 6 | (byte(1) & 0x3F);
    p += 2;
    return code;
  }
  if (first < 0xF0) {
    const char32_t code = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    p += 3;
    return code;
  }
  const char32_t code =
      (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  p += 4;
  return code;
}

void AppendUtf8(char32_t code, std::string* out);        // `code` must be a Unicode scalar value
size_t ValidUtf8Prefix(std::string_view text) noexcept;  // bytes of the longest valid prefix
std::string LossyUtf8(std::string_view text);
// Bytes at the end of `text` that start a character whose remaining bytes are still missing: 0 to 3.
size_t CutUtf8Suffix(std::string_view text) noexcept;

}  // namespace planish
