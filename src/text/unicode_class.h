// SPDX-License-Identifier: Apache-2.0
// What the split patterns of our tokenizers ask about a character, as one byte of flags per code point. The classes are those
// of Unicode 16.0, which the Oniguruma of Hugging Face tokenizers 0.23 has, so ids agree for the newest scripts too.
#pragma once

#include <cstdint>
#include <vector>

namespace planish {

using ClassFlags = uint8_t;
inline constexpr ClassFlags kUpper = 1;        // Lu, Lt
inline constexpr ClassFlags kLower = 2;        // Ll
inline constexpr ClassFlags kUncased = 4;      // Lm, Lo
inline constexpr ClassFlags kMark = 8;         // M
inline constexpr ClassFlags kNumber = 16;      // N
inline constexpr ClassFlags kWhiteSpace = 32;  // \s
inline constexpr ClassFlags kLineBreak = 64;   // \r and \n, which are white space too
inline constexpr ClassFlags kRustNumeric =
    128;  // char::is_numeric of the pre-tokenizer Digits: N of Unicode 17.0
inline constexpr ClassFlags kLetter = kUpper | kLower | kUncased;

// Table of 0x110000 entries, built at first use.
const ClassFlags* UnicodeClasses();
struct ClassRange {
  char32_t first, last;
  ClassFlags flags;
};
// The letters, marks and numbers that Unicode 14 did not have, by code point: what PCRE2 10.42 misses.
const std::vector<ClassRange>& ClassesAfterUnicode14();
// \w of Rust's regex crate: alphabetic, marks, decimal digits, connectors, join controls.
bool IsWordCharacter(char32_t code);

}  // namespace planish
