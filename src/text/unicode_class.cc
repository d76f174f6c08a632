// SPDX-License-Identifier: Apache-2.0
#include "text/unicode_class.h"

#include <unicode/uchar.h>

namespace planish {
namespace {

constexpr char32_t kCodePoints = 0x110000;

constexpr ClassFlags kN = kNumber | kRustNumeric;
// Letters, marks and numbers that Unicode 15.1 and 16.0 added; ICU 72 knows 15.0. Same flags again under a newer ICU.
constexpr ClassRange kAfterUnicode15[] = {
    {0x897, 0x897, kMark},
    {0x1C89, 0x1C89, kUpper},
    {0x1C8A, 0x1C8A, kLower},
    {0xA7CB, 0xA7CC, kUpper},
    {0xA7CD, 0xA7CD, kLower},
    {0xA7DA, 0xA7DA, kUpper},
    {0xA7DB, 0xA7DB, kLower},
    {0xA7DC, 0xA7DC, kUpper},
    {0x105C0, 0x105F3, kUncased},
    {0x10D40, 0x10D49, kN},
    {0x10D4A, 0x10D4F, kUncased},
    {0x10D50, 0x10D65, kUpper},
    {0x10D69, 0x10D6D, kMark},
    {0x10D6F, 0x10D6F, kUncased},
    {0x10D70, 0x10D85, kLower},
    {0x10EC2, 0x10EC4, kUncased},
    {0x10EFC, 0x10EFC, kMark},
    {0x11380, 0x11389, kUncased},
    {0x1138B, 0x1138B, kUncased},
    {0x1138E, 0x1138E, kUncased},
    {0x11390, 0x113B5, kUncased},
    {0x113B7, 0x113B7, kUncased},
    {0x113B8, 0x113C0, kMark},
    {0x113C2, 0x113C2, kMark},
    {0x113C5, 0x113C5, kMark},
    {0x113C7, 0x113CA, kMark},
    {0x113CC, 0x113D0, kMark},
    {0x113D1, 0x113D1, kUncased},
    {0x113D2, 0x113D2, kMark},
    {0x113D3, 0x113D3, kUncased},
    {0x113E1, 0x113E2, kMark},
    {0x116D0, 0x116E3, kN},
    {0x11BC0, 0x11BE0, kUncased},
    {0x11BF0, 0x11BF9, kN},
    {0x11F5A, 0x11F5A, kMark},
    {0x13460, 0x143FA, kUncased},
    {0x16100, 0x1611D, kUncased},
    {0x1611E, 0x1612F, kMark},
    {0x16130, 0x16139, kN},
    {0x16D40, 0x16D6C, kUncased},
    {0x16D70, 0x16D79, kN},
    {0x18CFF, 0x18CFF, kUncased},
    {0x1CCF0, 0x1CCF9, kN},
    {0x1E5D0, 0x1E5ED, kUncased},
    {0x1E5EE, 0x1E5EF, kMark},
    {0x1E5F0, 0x1E5F0, kUncased},
    {0x1E5F1, 0x1E5FA, kN},
    {0x2EBF0, 0x2EE5D, kUncased},
    // Unicode 17.0 numbers, which only Rust's own table has.
    {0x11DE0, 0x11DE9, kRustNumeric},
    {0x16FF4, 0x16FF6, kRustNumeric},
};

ClassFlags FlagsOf(UChar32 code) {
  switch (u_charType(code)) {
    case U_UPPERCASE_LETTER:
    case U_TITLECASE_LETTER:
      return kUpper;
    case U_LOWERCASE_LETTER:
      return kLower;
    case U_MODIFIER_LETTER:
    case U_OTHER_LETTER:
      return kUncased;
    case U_NON_SPACING_MARK:
    case U_ENCLOSING_MARK:
    case U_COMBINING_SPACING_MARK:
      return kMark;
    case U_DECIMAL_DIGIT_NUMBER:
    case U_LETTER_NUMBER:
    case U_OTHER_NUMBER:
      return kN;
    default:
      return u_isUWhiteSpace(code) ? kWhiteSpace : 0;
  }
}

std::vector<ClassFlags> BuildTable() {
  std::vector<ClassFlags> table(kCodePoints);
  for (char32_t code = 0; code < kCodePoints; ++code)
    table[code] = FlagsOf(static_cast<UChar32>(code));
  table['\n'] |= kLineBreak;
  table['\r'] |= kLineBreak;
  for (const ClassRange& range : kAfterUnicode15) {
    for (char32_t code = range.first; code <= range.last; ++code) table[code] = range.flags;
  }
  return table;
}

std::vector<ClassRange> BuildNewerRanges() {
  const ClassFlags* table = UnicodeClasses();
  std::vector<ClassRange> ranges;
  for (char32_t code = 0; code < kCodePoints; ++code) {
    const ClassFlags flags = table[code] & (kLetter | kMark | kNumber);
    if (flags == 0) continue;
    UVersionInfo age;
    u_charAge(static_cast<UChar32>(code), age);  // all zero: newer than ICU
    if (age[0] != 0 && age[0] <= 14) continue;
    if (!ranges.empty() && ranges.back().last + 1 == code && ranges.back().flags == flags)
      ranges.back().last = code;
    else
      ranges.push_back({code, code, flags});
  }
  return ranges;
}

}  // namespace

const std::vector<ClassRange>& ClassesAfterUnicode14() {
  // Never destroyed: a thread may still encode while the program exits.
  static const auto& ranges = *new std::vector<ClassRange>(BuildNewerRanges());
  return ranges;
}

const ClassFlags* UnicodeClasses() {
  static const auto& table = *new std::vector<ClassFlags>(BuildTable());  // never destroyed either
  return table.data();
}

bool IsWordCharacter(char32_t code) {
  if (code >= kCodePoints) return false;
  if ((UnicodeClasses()[code] & (kLetter | kMark)) != 0) return true;
  const auto c = static_cast<UChar32>(code);
  // Numbers newer than ICU are decimal digits, all of them up to Unicode 16.
  if (u_charType(c) == U_UNASSIGNED) return (UnicodeClasses()[code] & kNumber) != 0;
  return u_isUAlphabetic(c) || u_charType(c) == U_DECIMAL_DIGIT_NUMBER ||
         u_charType(c) == U_CONNECTOR_PUNCTUATION || code == 0x200C || code == 0x200D;
}

}  // namespace planish
